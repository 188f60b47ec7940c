import Casm
import Observation

/// The members of a cluster, for a list of them.
///
/// A view starts it as a task and lets it go when it disappears:
///
///     List(model.peers) { … }.task { await model.run() }
@available(iOS 17, macOS 14, *)
@MainActor
@Observable
public final class PeerList {
    /// The members, by their hosts' names.
    public private(set) var peers: [Record] = []
    /// What went wrong last, to show.
    public private(set) var problem: String?
    /// This node's own id; `nil` while it doesn't run.
    public private(set) var own: String?

    /// Whether the node is away, as the app is.
    public private(set) var isPaused = false

    private var node: Node?
    /// Whether the app is in front. It may go to the background while the node starts.
    private var isActive = true

    public init() {}

    /// Runs a node and follows who is there, until the task is cancelled.
    public func run(_ config: Config = Config(power: .low)) async {
        do {
            let node = try await Node.start(config)
            (self.node, own, problem) = (node, node.id, nil)
            if !isActive { await follow() }
            for await change in try node.subscribe() {
                apply(change)
            }
            // Also when this task is cancelled: others see it leave at once.
            try await node.close()
        } catch is CancellationError {
        } catch {
            problem = error.localizedDescription
        }
        (node, own, peers, isPaused) = (nil, nil, [], false)
    }

    /// To be told of the app's way to the background and back.
    public func scene(isActive: Bool) async {
        self.isActive = isActive
        await follow()
    }

    /// Has the node, if it runs, where the app is.
    private func follow() async {
        guard let node else { return }
        let isActive = isActive
        do {
            if isActive {
                try await node.resume()
            } else {
                try await node.pause()
            }
            (isPaused, problem) = (!isActive, nil)
        } catch {
            problem = error.localizedDescription
        }
    }

    private func apply(_ change: Change) {
        switch change {
        case .current(let record), .joined(let record), .updated(let record):
            peers.removeAll { $0.id == record.id }
            let place = peers.firstIndex { ($0.host, $0.id) > (record.host, record.id) }
            peers.insert(record, at: place ?? peers.endIndex)
        case .left(let record):
            peers.removeAll { $0.id == record.id }
        case .dropped:
            // The whole picture comes again.
            peers = []
        }
    }
}
