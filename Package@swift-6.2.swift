// swift-tools-version: 6.2
// As Package.swift, for Swift 6.2 and later: there the library for Linux is an artifact
// bundle, so that nothing is to be installed.
//
// What `cargo xtask package swift` made in target/ is taken, or else what the release has.

import Foundation
import PackageDescription

// A release writes these.
let version = "0.1.0"
let xcframeworkChecksum = "0000000000000000000000000000000000000000000000000000000000000000"
let bundleChecksum = "0000000000000000000000000000000000000000000000000000000000000000"

#if os(Linux)
let (made, file) = ("target/swift/CasmFFIC.artifactbundle", "CasmFFIC.artifactbundle.zip")
let checksum = bundleChecksum
#else
let (made, file) = ("target/swift/CasmFFIC.xcframework", "CasmFFIC.xcframework.zip")
let checksum = xcframeworkChecksum
#endif

let library: Target =
    FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(made)")
    ? .binaryTarget(name: "CasmFFIC", path: made)
    : .binaryTarget(
        name: "CasmFFIC",
        url: "https://github.com/wetware/casm/releases/download/v\(version)/\(file)",
        checksum: checksum)

let package = Package(
    name: "casm",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [.library(name: "Casm", targets: ["Casm"])],
    targets: [
        library,
        // What uniffi generates, which nobody sees.
        .target(
            name: "CasmFFI",
            dependencies: ["CasmFFIC"],
            path: "swift/Sources/CasmFFI",
            linkerSettings: [
                .linkedLibrary("m", .when(platforms: [.linux])),
                .linkedLibrary("dl", .when(platforms: [.linux])),
                .linkedLibrary("pthread", .when(platforms: [.linux])),
                .linkedFramework("CoreFoundation", .when(platforms: [.iOS, .macOS])),
                .linkedFramework("Security", .when(platforms: [.iOS, .macOS])),
                .linkedFramework("SystemConfiguration", .when(platforms: [.iOS, .macOS])),
            ]
        ),
        .target(name: "Casm", dependencies: ["CasmFFI"], path: "swift/Sources/Casm"),
        // An example, which is tested.
        .target(name: "PeerList", dependencies: ["Casm"], path: "swift/Examples/PeerList"),
        .testTarget(
            name: "CasmTests", dependencies: ["Casm", "CasmFFI", "PeerList"],
            path: "swift/Tests/CasmTests"),
    ],
    swiftLanguageModes: [.v6]
)
