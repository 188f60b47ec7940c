import Foundation

/// Gives what takes one at a time to one after the other, in the order in which they came.
final class Turns: @unchecked Sendable {
    private let lock = NSLock()
    private var taken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Waits for a turn, also in a task that is cancelled: who has the turn is to end soon
    /// then.
    func take() async {
        await withCheckedContinuation { (turn: CheckedContinuation<Void, Never>) in
            let free: Bool = lock.withLock {
                if taken {
                    waiting.append(turn)
                    return false
                }
                taken = true
                return true
            }
            if free { turn.resume() }
        }
    }

    /// Gives the turn back.
    func give() {
        let next: CheckedContinuation<Void, Never>? = lock.withLock {
            taken = !waiting.isEmpty
            return waiting.isEmpty ? nil : waiting.removeFirst()
        }
        next?.resume()
    }
}
