<?php
[$mode, $args] = [$argv[1], array_slice($argv, 2)];
switch ($mode) {
    case "talk":
        echo "héllo 世界 🦊\n";
        echo implode("", array_map(fn ($arg) => "[$arg]", $args)) . "\n";
        echo "got " . stream_get_contents(STDIN);
        break;
    case "exit":
        fwrite(STDERR, "bye\n");
        exit(7);
    case "crash":
        throw new Exception("crash");
    case "spin":
        while (true) {
        }
}
