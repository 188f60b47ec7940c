#if canImport(SwiftUI)
import Casm
import SwiftUI

/// A list of who is there.
@available(iOS 17, macOS 14, *)
public struct PeerListView: View {
    @State private var model = PeerList()
    @Environment(\.scenePhase) private var phase
    private let config: Config

    public init(config: Config = Config(power: .low)) {
        self.config = config
    }

    public var body: some View {
        List(model.peers) { record in
            VStack(alignment: .leading) {
                Text(record.id == model.own ? "\(record.host) (this device)" : record.host)
                Text(record.meta.map { "\($0)=\($1)" }.sorted().joined(separator: " "))
                    .font(.caption)
            }
        }
        .overlay {
            if let problem = model.problem { Text(problem) }
        }
        .task { await model.run(config) }
        // Also at first: a system may start an app in the background.
        .onChange(of: phase, initial: true) { _, phase in
            guard phase != .inactive else { return }
            Task { await model.scene(isActive: phase == .active) }
        }
    }
}
#endif
