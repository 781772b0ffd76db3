import java.io.StringReader;
import java.util.Properties;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/** Reads the configuration of a notification as QuorumPeer.configFromString does, and prints what it understood of it: the vote of each server, and the version. */
public class Configurations {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.load(new StringReader(arguments[0]));
        QuorumVerifier read = QuorumPeerConfig.parseDynamicConfig(properties, 3, false, false, "");
        System.out.println(read);
    }
}
