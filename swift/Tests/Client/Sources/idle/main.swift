// Has the package loaded, and does nothing: says how many threads there are.

import Casm
import Foundation

let query: Query = "meta:role=worker"
precondition(query == .matching(.meta("role", "worker")))
let threads = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
print(threads?.count ?? 1)
