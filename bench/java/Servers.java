import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** The echo and HTTP servers, one virtual thread per connection. */
final class Servers {
    /** Bytes of a connection's buffer. */
    private static final int BUFFER = 1024;

    /** Connections that may wait to be accepted. The default of 50 would have clients try again after a second. */
    private static final int BACKLOG = 4096;

    private static final byte[] HEAD_END = "\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

    private static final byte[] REPLY =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
                    .getBytes(StandardCharsets.US_ASCII);

    /** What is done with a connection. */
    interface Connection {
        void serve(InputStream in, OutputStream out) throws IOException;
    }

    private Servers() {}

    /** Accepts for ever. */
    static void serve(String address, Connection connection) throws IOException {
        int colon = address.lastIndexOf(':');
        String host = address.substring(0, colon);
        ServerSocket listener = new ServerSocket();
        listener.bind(new InetSocketAddress(host, Integer.parseInt(address.substring(colon + 1))), BACKLOG);
        System.out.println("listening " + host + ":" + listener.getLocalPort());
        while (true) {
            Socket socket = listener.accept();
            Threads.start(() -> {
                try (socket) {
                    socket.setTcpNoDelay(true);
                    connection.serve(socket.getInputStream(), socket.getOutputStream());
                } catch (IOException error) {
                    // How a connection ended is the client's to judge: it checks every reply.
                }
            });
        }
    }

    /** Sends back what comes. */
    static void echo(InputStream in, OutputStream out) throws IOException {
        byte[] buffer = new byte[BUFFER];
        for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
            out.write(buffer, 0, read);
        }
    }

    /** Finds the end of each request's head and writes one fixed reply. */
    static void http(InputStream in, OutputStream out) throws IOException {
        byte[] buffer = new byte[BUFFER];
        int matched = 0;
        for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
            for (int i = 0; i < read; i++) {
                if (buffer[i] == HEAD_END[matched]) {
                    matched++;
                } else {
                    matched = buffer[i] == '\r' ? 1 : 0;
                }
                if (matched == HEAD_END.length) {
                    matched = 0;
                    out.write(REPLY);
                }
            }
        }
    }
}
