import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import org.jsmpp.bean.SubmitSm;
import org.jsmpp.examples.SMPPServerSimulator;
import org.jsmpp.extra.ProcessRequestException;
import org.jsmpp.session.SMPPServerSession;
import org.jsmpp.session.SubmitSmResult;

/** jsmpp's example server as it is, but for two recipients: 0004 is throttled once, 0099 makes it unbind unanswered. */
public class MoodySmsc extends SMPPServerSimulator {
    private static final int THROTTLED = 0x58;
    private final Set<String> seen = ConcurrentHashMap.newKeySet();

    public MoodySmsc(int port) {
        super(false, port, "gateway", "secret");
    }

    @Override
    public SubmitSmResult onAcceptSubmitSm(SubmitSm submit, SMPPServerSession session) throws ProcessRequestException {
        String recipient = submit.getDestAddress();
        boolean first = seen.add(recipient);
        if (first && recipient.endsWith("0004")) {
            throw new ProcessRequestException("too fast", THROTTLED);
        }
        if (first && recipient.endsWith("0099")) {
            Thread unbinding = new Thread(session::unbindAndClose);
            unbinding.start();
            try {
                unbinding.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        return super.onAcceptSubmitSm(submit, session);
    }

    /** The example gives up for good when its port is taken, or when accepting fails once: then it begins again. */
    public static void main(String[] arguments) {
        MoodySmsc smsc = new MoodySmsc(Integer.parseInt(arguments[0]));
        while (true) {
            smsc.run();
            LockSupport.parkNanos(100_000_000);
        }
    }
}
