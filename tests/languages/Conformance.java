import java.nio.charset.StandardCharsets;

public class Conformance {
  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "talk" -> {
        System.out.println("héllo 世界 🦊");
        for (int n = 1; n < args.length; n++) System.out.print("[" + args[n] + "]");
        System.out.print("\ngot " + new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
      }
      case "exit" -> {
        System.err.println("bye");
        System.exit(7);
      }
      case "crash" -> throw new IllegalStateException("crash");
      default -> {
        while (true) {}
      }
    }
  }
}
