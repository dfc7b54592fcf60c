// swift-tools-version: 6.2

import PackageDescription

let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "sidekick",
    products: [
        .executable(name: "docker-register", targets: ["Register"]),
        .executable(name: "docker-discover", targets: ["Discover"]),
    ],
    targets: [
        // libcurl's headers come from Debian's libcurl4-openssl-dev; deploy/setup.sh installs it.
        .target(
            name: "CCurl",
            cSettings: [.treatAllWarnings(as: .error)],
            linkerSettings: [.linkedLibrary("curl")]
        ),
        // The resolver is part of the C library, and its header of libc6-dev.
        .target(
            name: "CResolv", cSettings: [.treatAllWarnings(as: .error)], linkerSettings: [.linkedLibrary("resolv")]),
        .target(name: "Shared", dependencies: ["CCurl", "CResolv"], swiftSettings: swiftSettings),
        .executableTarget(name: "Register", dependencies: ["Shared"], swiftSettings: swiftSettings),
        .executableTarget(name: "Discover", dependencies: ["Shared"], swiftSettings: swiftSettings),
        // No Testing import here: a release build of a plain target cannot see it.
        .target(name: "TestSupport", dependencies: ["Shared"], path: "Tests/TestSupport", swiftSettings: swiftSettings),
        .testTarget(name: "SharedTests", dependencies: ["Shared", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "RegisterTests", dependencies: ["Register", "TestSupport"], exclude: ["Fixtures"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "DiscoverTests", dependencies: ["Discover", "Shared", "TestSupport"],
            exclude: ["Golden", "GoldenMaps"],
            swiftSettings: swiftSettings),
        .testTarget(name: "EndToEndTests", dependencies: ["Shared", "TestSupport"], swiftSettings: swiftSettings),
    ]
)
