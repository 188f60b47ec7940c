// swift-tools-version: 6.0
// CASM for Swift. The package lies in swift/; its manifest is here, where SwiftPM looks.
//
// The library is Rust's. On Apple's systems it is an XCFramework: the one that `cargo xtask
// package swift` made in target/, or else that of the release. On Linux pkg-config finds it
// where the release's tarball was unpacked (Package@swift-6.2.swift needs no such step).

import Foundation
import PackageDescription

// A release writes these.
let version = "0.1.0"
let xcframeworkChecksum = "0000000000000000000000000000000000000000000000000000000000000000"

#if os(Linux)
let library = Target.systemLibrary(
    name: "CasmFFIC", path: "swift/Sources/CasmFFIC", pkgConfig: "casm")
#else
let made = "target/swift/CasmFFIC.xcframework"
let library: Target =
    FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(made)")
    ? .binaryTarget(name: "CasmFFIC", path: made)
    : .binaryTarget(
        name: "CasmFFIC",
        url: "https://github.com/wetware/casm/releases/download/v\(version)/CasmFFIC.xcframework.zip",
        checksum: xcframeworkChecksum)
#endif

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
