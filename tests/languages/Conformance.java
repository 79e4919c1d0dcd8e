import java.nio.charset.StandardCharsets;

public class Conformance {
  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "hello" -> System.out.println("hello");
      case "stdin" -> System.out.print("got " + new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
      case "args" -> {
        for (int n = 1; n < args.length; n++) System.out.print("[" + args[n] + "]");
        System.out.println();
      }
      case "exit" -> {
        System.err.println("bye");
        System.exit(7);
      }
      case "crash" -> throw new IllegalStateException("crash");
      case "utf8" -> System.out.println("héllo 世界 🦊 " + args[1]);
      default -> {
        while (true) {}
      }
    }
  }
}
