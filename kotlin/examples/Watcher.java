package examples;

import casm.Change;
import casm.Config;
import casm.NodeJava;
import casm.Query;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;

/**
 * Asks every worker that comes, in Java:
 *
 * <pre>java -cp … examples.Watcher NAMESPACE [BOOT…]</pre>
 */
public final class Watcher {
    private Watcher() {}

    public static void main(String[] args) throws InterruptedException {
        Config.Builder config = Config.builder().listen("/ip4/127.0.0.1/tcp/0");
        if (args.length > 0) {
            config.namespace(args[0]);
        }
        if (args.length > 1) {
            config.boot(java.util.Arrays.copyOfRange(args, 1, args.length));
        }
        CountDownLatch asked = new CountDownLatch(1);
        try (NodeJava node = NodeJava.start(config.build())) {
            node.onChange(Query.service("shout"), change -> {
                if (change instanceof Change.Left || change.getRecord() == null) {
                    return;
                }
                // Not here, where the node's other callbacks would wait for the answer.
                node.callAsync("shout", "hello".getBytes(StandardCharsets.UTF_8)).thenAccept(answer -> {
                    System.out.println(answer.getPeer() + " says "
                            + new String(answer.getData(), StandardCharsets.UTF_8));
                    asked.countDown();
                });
            });
            asked.await();
        }
    }
}
