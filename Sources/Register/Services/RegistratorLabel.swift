import Shared

/// A label of registrator (https://gliderlabs.github.io/registrator/latest/user/backends/) that has another name here.
///
/// They are known by name so that they are not dropped silently: any other unknown variable is the application's own.
struct RegistratorLabel: Sendable {
    /// The name in capitals, without `SERVICE_` and port.
    let name: String
    /// What to write instead, for its value and for the text before its name.
    let advice: @Sendable (_ value: String, _ prefix: String) -> String

    /// The labels by name.
    static let named = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }

    private static let all: [RegistratorLabel] = [
        RegistratorLabel(name: "CHECK_HTTP") { "\(its) \($1)\(check($0))" },
        RegistratorLabel(name: "CHECK_HTTPS") { _, prefix in
            "\(its) \(prefix)CHECK=tcp: checks by HTTPS are not supported"
        },
        RegistratorLabel(name: "CHECK_TCP") { "\(its) \($1)CHECK=tcp" },
        RegistratorLabel(name: "CHECK_HTTP_METHOD") { value, prefix in
            "\(its) \(prefix)CHECK_METHOD=\((CheckMethod(rawValue: value.uppercased()) ?? .get).rawValue)"
        },
        RegistratorLabel(name: "CHECK_HTTPS_METHOD") { _, prefix in
            "\(its) \(prefix)CHECK=tcp: checks by HTTPS are not supported"
        },
        RegistratorLabel(name: "CHECK_CMD", advice: command), RegistratorLabel(name: "CHECK_SCRIPT", advice: command),
        RegistratorLabel(name: "CHECK_DOCKER", advice: command), RegistratorLabel(name: "CHECK_TTL", advice: command),
        RegistratorLabel(name: "CHECK_GRPC") { "\(its) \($1)CHECK=tcp: checks by gRPC are not supported" },
        RegistratorLabel(name: "CHECK_INITIAL_STATUS") {
            "\(its) \($1)REGISTER_CHECK=tcp or http:/path, which keeps the port out until it passes"
        },
    ]

    private static let its = "it is a label of registrator; write"

    private static func check(_ value: String) -> String {
        let path = value.hasPrefix("/") ? value : "/\(value)"
        return "CHECK=\(ServiceCheck("http:\(path)")?.description ?? "http:/path")"
    }

    private static let command: @Sendable (String, String) -> String = { _, _ in
        "it is a label of registrator; commands run as the HEALTHCHECK of the image, which is respected"
    }
}
