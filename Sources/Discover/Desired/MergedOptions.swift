import Shared

/// What is said of a service as a whole: by its operator, else by the newest of its instances that says it.
struct MergedOptions: Equatable {
    /// The options of the service; what they say of single endpoints means nothing here.
    private(set) var options = ServiceOptions()

    /// Where instances disagree, and where options do not go together.
    private(set) var problems: Set<Diagnostic> = []

    /// Puts together what is said.
    ///
    /// - Parameter isRouted: whether routes lead to it, so that its connections are HTTP unless somebody says otherwise.
    init(_ service: Catalog.Service, isRouted: Bool = false) {
        collect(service)
        if isRouted, options.mode == nil { options.mode = .http }
        guard !options.isEmpty else { return }
        for rule in OptionRule.all where !rule.fits(options) {
            ServiceOptions.field(rule.field)?.copy(ServiceOptions(), &options)
            problems.insert(.optionMisfits(service.name, field: rule.field, why: rule.reason))
        }
    }

    private mutating func collect(_ service: Catalog.Service) {
        let config = service.config.options
        guard let newest = service.instances.max(by: Catalog.Instance.isOlder)?.options else { return }
        // Instances mostly say the same, and there may be thousands of them.
        if service.instances.allSatisfy({ $0.options == newest }) {
            options = config.isEmpty ? newest.value : newest.value.overridden(by: config)
            return
        }
        var (voices, heard): ([ServiceOptions], Set<Interned<ServiceOptions>>) = ([], [])
        for instance in service.instances.sorted(by: Catalog.Instance.isOlder).reversed()
        where heard.insert(instance.options).inserted { voices.append(instance.options.value) }
        for field in Self.fields {
            if field.text(config) != nil {
                field.copy(config, &options)
            } else {
                choose(field, among: voices, of: service.name)
            }
        }
    }

    /// Lets the newest of the instances that say something decide; those that say nothing mean the default.
    private mutating func choose(_ field: ServiceOptions.Field, among voices: [ServiceOptions], of service: ServiceName)
    {
        guard let newest = voices.first(where: { field.text($0) != nil }), let chosen = field.text(newest) else {
            return
        }
        field.copy(newest, &options)
        let silent = voices.contains { field.text($0) == nil } && chosen != field.defaultText
        let values = Set(voices.compactMap(field.text)).sorted()
        guard values.count > 1 || silent else { return }
        let unsaid = silent ? ["\(field.defaultText.replacing("`", with: "")) (by default)"] : []
        problems.insert(.valuesDiffer(service, field: field.name, values: unsaid + values, chosen: chosen))
    }

    /// The options of services; the port has a further key and is ``ListenerPort``'s.
    private static let fields = ServiceOptions.fields.filter { $0.scope == .service && $0.name != "port" }
}

/// What one option demands of the others: where they say something else, it counts as not said.
struct OptionRule: Sendable {
    /// The option.
    let field: String
    /// Why it counts as not said.
    let reason: String
    /// Whether it goes with the others.
    let fits: @Sendable (ServiceOptions) -> Bool

    /// The rules for what is said of services.
    static let all =
        [
            OptionRule(field: "balance", reason: "uri needs mode http") { $0.balance != .uri || $0.isHTTP },
            OptionRule(field: "cookie", reason: needsHTTP) { $0.cookie == nil || $0.isHTTP },
            OptionRule(field: "compression", reason: needsHTTP) {
                ($0.compression ?? Compression.none) == Compression.none || $0.isHTTP
            },
            OptionRule(field: "retry_on", reason: needsHTTP) {
                ($0.retryOn ?? .standard) == .standard || $0.isHTTP
            },
            OptionRule(field: "route", reason: needsHTTP) { $0.route == nil || $0.mode != .tcp },
            OptionRule(field: "forwarded_for", reason: needsHTTP) { $0.forwardedFor != true || $0.isHTTP },
        ]
        + ["check_host", "check_method", "check_status"].map { forCheck($0, "it needs an HTTP check", \.hasHTTPCheck) }
        + [
            "check_interval", "check_fast_interval", "check_down_interval", "check_timeout", "check_rise", "check_fall",
        ].map { forCheck($0, OptionRule.needsCheck, \.hasCheck) }

    /// Why an option about checks means nothing.
    static let needsCheck = "there is no check"

    private static let needsHTTP = "it needs mode http"

    private static func forCheck(
        _ field: String, _ reason: String, _ holds: @escaping @Sendable (ServiceOptions) -> Bool
    ) -> OptionRule {
        OptionRule(field: field, reason: reason) { holds($0) || ServiceOptions.field(field)?.text($0) == nil }
    }
}

extension ServiceOptions {
    fileprivate var isHTTP: Bool { mode == .http }

    fileprivate var hasCheck: Bool { check != ServiceCheck.none }

    fileprivate var hasHTTPCheck: Bool {
        if case .http? = check { return true }
        return false
    }
}
