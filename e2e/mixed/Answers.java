import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Prints what a server answers to operations that kazoo does not have: `java Answers.java host:port /root`. The same from every server, whoever made it. */
class Answers {
    interface Question {
        Object ask() throws Exception;
    }

    static void print(String what, Question question) throws Exception {
        try {
            System.out.println(what + ": " + question.ask());
        } catch (KeeperException error) {
            System.out.println(what + ": " + error.code());
        }
    }

    static String result(OpResult result) {
        if (result instanceof OpResult.ErrorResult error) {
            return "error " + error.getErr();
        }
        if (result instanceof OpResult.GetDataResult data) {
            return "data " + new String(data.getData()) + " version " + data.getStat().getVersion();
        }
        if (result instanceof OpResult.GetChildrenResult children) {
            return "children " + new TreeSet<>(children.getChildren());
        }
        if (result instanceof OpResult.CreateResult created) {
            return "create " + created.getPath().replaceFirst("^/[^/]*", "") + " " + (created.getStat() == null ? "" : created.getStat().getEphemeralOwner());
        }
        return result.getClass().getSimpleName();
    }

    static List<String> results(List<OpResult> results) {
        List<String> texts = new ArrayList<>();
        results.forEach(result -> texts.add(result(result)));
        return texts;
    }

    public static void main(String[] arguments) throws Exception {
        String root = arguments[1];
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper client = new ZooKeeper(arguments[0], 30_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        connected.await();
        client.create(root, "data".getBytes(), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        print("longest ttl", () -> {
            Stat stat = new Stat();
            client.create(root + "/ttl", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, (1L << 40) - 1);
            return "owner " + stat.getEphemeralOwner() + " version " + stat.getVersion();
        });
        print("sequential ttl", () -> client.create(root + "/s-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, new Stat(), 600_000).replaceFirst(root, ""));
        print("short ttl", () -> client.create(root + "/short", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, new Stat(), 1).replaceFirst(root, ""));
        print("ttl in a multi", () -> results(client.multi(List.of(
            Op.create(root + "/m", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL.toFlag(), 600_000),
            Op.create(root + "/m/child", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL)))));
        print("several reads", () -> results(client.multi(List.of(Op.getData(root), Op.getData(root + "/missing"), Op.getChildren(root + "/m"), Op.getChildren(root + "/missing")))));
        print("no reads", () -> results(client.multi(List.of())));
        client.create(root + "/e", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        for (String prefix : List.of("/", root, root + "/m", "/nothing")) {
            print("ephemerals", () -> new TreeSet<>(client.getEphemerals(prefix)).toString().replace(root, ""));
        }
        print("all children of the root", () -> client.getAllChildrenNumber(root + "/m"));
        print("all children of what is missing", () -> client.getAllChildrenNumber(root + "/missing"));
        client.addAuthInfo("digest", "ann:secret".getBytes());
        print("who", () -> {
            TreeSet<String> who = new TreeSet<>();
            client.whoAmI().forEach(info -> who.add(info.getAuthScheme() + ":" + info.getUser()));
            return who;
        });
        client.close();
    }
}
