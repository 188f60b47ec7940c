// swift-tools-version: 5.9
// A package that depends on ours as an app does, in Swift's language mode 5. The code that
// README and documentation show is compiled here: `cargo xtask test swift` copies this
// package, and puts it into Sources/Snippets.

import PackageDescription

let casm = Target.Dependency.product(name: "Casm", package: "casm")

let package = Package(
    name: "Client",
    platforms: [.iOS(.v16), .macOS(.v13)],
    dependencies: [.package(name: "casm", path: "../../..")],
    targets: [
        .target(name: "Snippets", dependencies: [casm]),
        .executableTarget(name: "leaves", dependencies: [casm]),
        .executableTarget(name: "idle", dependencies: [casm]),
        // For node/tests/languages.test.mjs.
        .executableTarget(name: "across", dependencies: [casm]),
        .testTarget(name: "ClientTests", dependencies: ["Snippets", "leaves", "idle", casm]),
    ]
)
