// swift-tools-version: 6.0
// Compiles the generated code and tests it. `cargo xtask test uniffi` lays it out
// under Sources, and the static library beside this file.

import PackageDescription

let package = Package(
    name: "CasmFFI",
    targets: [
        .target(name: "CasmFFIC"),
        .target(
            name: "CasmFFI",
            dependencies: ["CasmFFIC"],
            linkerSettings: [
                .unsafeFlags(["-L\(Context.packageDirectory)/library"]),
                .linkedLibrary("casm_uniffi"),
                .linkedLibrary("m", .when(platforms: [.linux])),
                .linkedLibrary("dl", .when(platforms: [.linux])),
                .linkedLibrary("pthread", .when(platforms: [.linux])),
            ]
        ),
        .testTarget(name: "CasmFFITests", dependencies: ["CasmFFI"]),
    ],
    swiftLanguageModes: [.v6]
)
