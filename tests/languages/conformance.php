<?php
[$mode, $args] = [$argv[1], array_slice($argv, 2)];
switch ($mode) {
    case "hello":
        echo "hello\n";
        break;
    case "stdin":
        echo "got " . stream_get_contents(STDIN);
        break;
    case "args":
        echo implode("", array_map(fn ($arg) => "[$arg]", $args)) . "\n";
        break;
    case "exit":
        fwrite(STDERR, "bye\n");
        exit(7);
    case "crash":
        throw new Exception("crash");
    case "utf8":
        echo "héllo 世界 🦊 $args[0]\n";
        break;
    case "spin":
        while (true) {
        }
}
