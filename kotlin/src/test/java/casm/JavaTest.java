package casm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** All of it from Java, without a trace of Kotlin. */
class JavaTest {
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private static Config.Builder loopback(String boot) {
        return Config.builder().listen("/ip4/127.0.0.1/tcp/0").boot(boot);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    @Test
    void nodesFindEachOtherAndAreAsked() throws Exception {
        BlockingQueue<Event> events = new LinkedBlockingQueue<>();
        try (NodeJava first = NodeJava.start(
                        loopback("none").meta("role", "boss").ttl(Duration.ofSeconds(20)).build(), PATIENCE, events::add);
                NodeJava second = NodeJava.startAsync(loopback(first.addrs().get(0)).meta("role", "worker").build())
                        .get(60, TimeUnit.SECONDS)) {
            assertTrue(events.poll(60, TimeUnit.SECONDS) instanceof Event.Listening);
            View view = second.waitFor(2, PATIENCE);
            assertEquals(2, view.getSize());
            Record boss = view.lookup(Query.matching(Index.meta("role", "boss")));
            assertEquals(first.getId(), boss.getPeer());
            assertEquals(Duration.ofSeconds(20), boss.getTtl());
            assertTrue(boss.isVerified());
            for (Record record : first.waitForAsync(2).get(60, TimeUnit.SECONDS)) {
                assertTrue(record.getMeta().containsKey("role"));
            }
            assertEquals(1, view.iter(Query.prefix(Index.meta("role")).limit(1)).size());
            assertEquals(first.getId(), second.connect(boss, PATIENCE));
            assertEquals(first.getId(), second.connectAsync(first.getId()).get(60, TimeUnit.SECONDS));
            assertEquals(List.of(first.getId()), second.connected());
            second.peerStatus(first.getId()).getRoundTrip();
            assertEquals("unknown", second.reachability().getReach());

            BlockingQueue<Change> changes = new LinkedBlockingQueue<>();
            first.onChange(Query.matching("meta:role=worker"), changes::add);
            second.setMeta(Map.of("role", "worker", "load", "1"), PATIENCE);
            Map<String, String> gone = new HashMap<>();
            gone.put("load", null);
            second.updateMeta(gone, PATIENCE);
            second.setTtl(Duration.ofSeconds(30));
            second.setHost("elsewhere");
            // Another TTL alone is no change: this one brings it along.
            Change change = changes.poll(60, TimeUnit.SECONDS);
            while (!change.getRecord().getHost().equals("elsewhere")) {
                change = changes.poll(60, TimeUnit.SECONDS);
            }
            assertEquals(Duration.ofSeconds(30), change.getRecord().getTtl());
            assertFalse(change.getRecord().getMeta().containsKey("load"));

            try (RemoteView remote = second.viewOf(first.getId(), PATIENCE)) {
                assertEquals(2, remote.count());
                assertEquals(2, remote.countAsync().get(60, TimeUnit.SECONDS));
                int many = 0;
                for (Record ignored : remote.iter()) {
                    many++;
                }
                assertEquals(2, many);
            }
            second.pause(PATIENCE);
            assertTrue(second.isPaused());
            second.resume(PATIENCE);
            assertEquals(second.getId(), first.waitFor(1, PATIENCE, Query.matching("meta:role=worker"))
                    .lookup(Query.matching("meta:role=worker")).getPeer());
        }
    }

    @Test
    void messagingWorks() throws Exception {
        try (NodeJava here = NodeJava.start(loopback("none").build());
                NodeJava there = NodeJava.start(loopback(here.addrs().get(0)).build())) {
            there.waitFor(2, PATIENCE);
            here.waitFor(2, PATIENCE);

            here.serve("shout", request -> bytes(text(request.getData()).toUpperCase()));
            here.serveAnswers("headers", request -> new Answer(request.getData(), request.getHeaders()));
            here.serve("throws", request -> {
                throw new java.io.IOException("no luck");
            }, new ServeOptions().version("2").maxInflight(1).allow());
            here.serveStream("count", (request, parts) -> {
                for (byte n = 0; n < 10; n++) {
                    parts.send(new byte[] {n});
                }
            });
            there.waitFor(1, PATIENCE, Query.service("count"));
            assertEquals("HELLO", text(there.call("shout", bytes("hello")).getData()));
            assertEquals("A", text(there.callAsync("shout", bytes("a")).get(60, TimeUnit.SECONDS).getData()));
            CallOptions options = new CallOptions().peer(here.getId()).header("k", "v").timeout(PATIENCE);
            assertEquals(Map.of("k", "v"), there.call("headers", bytes("x"), options).getHeaders());
            CasmException failure = assertThrows(CasmException.class, () -> there.call("throws", bytes("")));
            assertEquals(CasmException.Kind.REMOTE, failure.getKind());
            assertTrue(failure.getMessage().contains("no luck"), failure.getMessage());
            try (Items<byte[]> parts = there.callStream("count", bytes(""))) {
                for (byte n = 0; n < 10; n++) {
                    assertArrayEquals(new byte[] {n}, parts.next(PATIENCE));
                }
                assertNull(parts.next());
            }
            Replies replies = there.callAll("shout", bytes("b"), new CallOptions().limit(10));
            assertEquals("B", text(replies.next().getData()));
            assertNull(replies.next());
            assertEquals("all", replies.getEnded());
            assertEquals(3, here.serviceStats("shout").getCalls());
            assertTrue(here.serviceStats("shout").getTime().compareTo(PATIENCE) < 0);

            Topic news = here.topic("news");
            BlockingQueue<Message> heard = new LinkedBlockingQueue<>();
            Subscription subscription = there.topic("news").onMessage(heard::add);
            news.waitForPeers(1, PATIENCE);
            assertEquals(1, news.publish(bytes("hello")));
            assertEquals(here.getId(), heard.poll(60, TimeUnit.SECONDS).getSource());
            subscription.cancel();

            here.onStream("/shout/1", (stream, peer) ->
                    stream.write(bytes(text(stream.inputStream().readAllBytes()).toUpperCase())));
            try (ByteStream stream = there.openStream(here.getId(), "/shout/1")) {
                stream.write(bytes("hello"));
                stream.closeWrite();
                assertEquals("HELLO", text(stream.inputStream().readAllBytes()));
            }

            Channel own = here.channel("jobs", 4);
            there.waitFor(1, PATIENCE, Query.channel("jobs"));
            Channel jobs = there.openChannel("jobs");
            jobs.send(bytes("1"), PATIENCE);
            assertEquals("1", text(own.recv()));
            own.send(bytes("2"));
            try (Job job = jobs.take(PATIENCE)) {
                job.done();
            }
            own.sendAsync(bytes("3")).get(60, TimeUnit.SECONDS);
            Selected selected = Casm.select(List.of(own.receiving()), PATIENCE);
            assertEquals("3", text(selected.getValue()));
            failure = assertThrows(CasmException.class, () -> own.recv(Duration.ofMillis(10)));
            assertEquals(CasmException.Kind.TIMEOUT, failure.getKind());
            here.semaphore("leader", 1);
            try (Lease lease = there.openSemaphore("leader", here.getId()).acquire(PATIENCE)) {
                assertFalse(lease.isLost());
            }
            own.close();
            Casm.forwardLogs(LogLevel.OFF, records -> { });
            Key key = Key.generate();
            assertEquals(key.getPeer(), key.getPeer());
        }
    }

    @Test
    void whoHoldsTheSecretIsIn() throws Exception {
        Path folder = Files.createTempDirectory("casm");
        Path file = folder.resolve("swarm.key");
        Secret made = Secret.generate();
        made.save(file.toString());
        Secret read = Secret.parse(Files.readAllBytes(file));
        assertEquals(made.getFingerprint(), read.getFingerprint());
        assertEquals(made, Secret.load(file.toString()));
        try (NodeJava member = NodeJava.start(loopback("none").secret(made).build());
                NodeJava other = NodeJava.start(loopback("none").secret(read).build());
                NodeJava stranger = NodeJava.start(loopback("none").build())) {
            String addr = member.addrs().get(0);
            assertEquals(member.getId(), other.connect(addr, PATIENCE));
            assertEquals(2, other.waitFor(2, PATIENCE).getSize());
            CasmException failure = assertThrows(CasmException.class, () -> stranger.connect(addr, PATIENCE));
            assertEquals(CasmException.Kind.UNREACHABLE, failure.getKind());
        }
        Files.delete(file);
        Files.delete(folder);
    }

    @Test
    void aNodeTakesWhomItsListsSay() throws Exception {
        String stranger = Key.generate().getPeer();
        try (NodeJava here = NodeJava.start(loopback("none").allow(stranger).deny(stranger).build());
                NodeJava there = NodeJava.start(loopback("none").build())) {
            assertEquals(List.of(stranger), here.allowed());
            assertEquals(List.of(stranger), here.denied());
            CasmException failure =
                    assertThrows(CasmException.class, () -> here.connect(there.addrs().get(0), PATIENCE));
            assertEquals(CasmException.Kind.UNREACHABLE, failure.getKind());
            here.disallow(List.of(stranger));
            assertEquals(List.of(), here.allowed());
            here.allow(there.getId(), stranger);
            here.connect(there.addrs().get(0), PATIENCE);
            assertEquals(2, here.waitFor(2, PATIENCE).getSize());
            here.setAllowed(List.of(there.getId()));
            here.allowAll();
            assertNull(here.allowed());
            here.undeny(stranger);
            here.setDenied(List.of());
            assertEquals(List.of(), here.denied());
            failure = assertThrows(CasmException.class, () -> here.deny(here.getId()));
            assertEquals(CasmException.Kind.CONFIG, failure.getKind());
            assertTrue(failure.getMessage().contains(here.getId()), failure.getMessage());
        }
    }

    @Test
    void membersHaveCertificates() throws Exception {
        Authority authority = new Authority();
        Key key = Key.generate();
        byte[] certificate = authority.certificate(key.getPeer(), "orchard", "worker");
        Config.Builder member = loopback("none").namespace("orchard").key(key).admit(authority.getId());
        try (NodeJava node = NodeJava.start(member.certificate(Certificate.of(certificate)).build(), PATIENCE)) {
            assertEquals(List.of("worker"), node.view().get(key.getPeer()).getRoles());
            node.renew(authority.certificate(key.getPeer(), "orchard"));
            assertEquals(1, node.revoke(authority.revocation(Key.generate().getPeer())));
        }
        CasmException failure = assertThrows(
                CasmException.class, () -> NodeJava.start(member.revoked("/nowhere").build(), PATIENCE));
        assertEquals(CasmException.Kind.IO, failure.getKind());
    }

    private static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    @Test
    void whatWaitsIsAFutureToo() throws Exception {
        BlockingQueue<Event> events = new LinkedBlockingQueue<>();
        NodeJava here = get(NodeJava.startAsync(loopback("none").build(), PATIENCE, events::add));
        NodeJava there = get(NodeJava.startAsync(loopback(here.addrs().get(0)).build()));
        get(there.waitForAsync(2));
        get(here.waitForAsync(2));

        CompletableFuture<Void> advertised = here.advertiseAsync("elsewhere", Duration.ofSeconds(5));
        assertNull(get(advertised));
        get(here.setMetaAsync(Map.of("role", "boss", "load", "1"), PATIENCE));
        Map<String, String> gone = new HashMap<>();
        gone.put("load", null);
        get(here.updateMetaAsync(gone));
        get(here.setHostAsync("desk"));
        get(here.setTtlAsync(Duration.ofSeconds(30)));
        Record own = here.view().get(here.getId());
        assertEquals(Map.of("role", "boss"), own.getMeta());
        assertEquals("desk", own.getHost());
        assertEquals(Duration.ofSeconds(30), own.getTtl());
        assertEquals(here.getId(), get(there.connectAsync(own)));

        here.onStream("/echo/1", (stream, peer) -> stream.write(stream.inputStream().readAllBytes()));
        ByteStream stream = get(there.openStreamAsync(own, "/echo/1"));
        get(stream.writeAsync(bytes("hello")));
        get(stream.closeWriteAsync(PATIENCE));
        assertEquals("hello", text(get(stream.readAsync())));
        get(stream.closeAsync(PATIENCE));
        assertTrue(stream.isClosed());

        Channel jobs = here.channel("jobs", 4);
        Channel far = get(there.openChannelAsync("jobs", here.getId(), PATIENCE));
        get(jobs.sendAsync(bytes("1")));
        get(get(far.takeAsync()).giveBackAsync());
        get(get(far.takeAsync()).doneAsync(PATIENCE));
        get(jobs.sendAsync(bytes("2")));
        assertEquals("2", text(get(far.recvAsync())));
        get(jobs.closeAsync());
        ExecutionException failure = assertThrows(ExecutionException.class, () -> get(jobs.sendAsync(bytes("3"))));
        assertEquals(CasmException.Kind.CLOSED, ((CasmException) failure.getCause()).getKind());

        get(here.semaphoreAsync("leader", 1));
        Semaphore leader = get(there.openSemaphoreAsync("leader", here.getId()));
        Lease lease = get(leader.acquireAsync());
        CompletableFuture<Void> lost = lease.waitLostAsync();
        assertFalse(lost.isDone());
        lease.release();
        get(lost);

        get(there.pauseAsync());
        assertTrue(there.isPaused());
        get(there.resumeAsync(PATIENCE));
        assertFalse(there.isPaused());
        get(here.waitForAsync(2));

        // A goodbye is said to its end, whether or not anybody waits for it.
        events.clear();
        there.closeAsync().cancel(true);
        Event event = events.poll(60, TimeUnit.SECONDS);
        while (!(event instanceof Event.PeerLeft)) {
            event = events.poll(60, TimeUnit.SECONDS);
        }
        assertEquals(LeaveReason.LEFT, ((Event.PeerLeft) event).getReason());
        get(there.closeAsync());
        assertTrue(there.isClosed());
        get(here.closeAsync(Duration.ofSeconds(1)));
        assertTrue(here.isClosed());
        failure = assertThrows(ExecutionException.class, () -> get(here.setHostAsync("x")));
        assertEquals(CasmException.Kind.CLOSED, ((CasmException) failure.getCause()).getKind());
    }

    @Test
    void aHandlerIsInterruptedWhenNobodyWaits() throws Exception {
        try (NodeJava node = NodeJava.start(loopback("none").build())) {
            BlockingQueue<Boolean> interrupted = new LinkedBlockingQueue<>();
            BlockingQueue<Boolean> begun = new LinkedBlockingQueue<>();
            node.serve("hangs", request -> {
                begun.add(true);
                try {
                    Thread.sleep(PATIENCE.toMillis());
                } catch (InterruptedException error) {
                    interrupted.add(request.isCancelled());
                    throw error;
                }
                return new byte[0];
            });
            var call = node.callAsync("hangs", new byte[0], new CallOptions().noTimeout());
            begun.poll(60, TimeUnit.SECONDS);
            call.cancel(true);
            assertEquals(true, interrupted.poll(60, TimeUnit.SECONDS));
        }
    }
}
