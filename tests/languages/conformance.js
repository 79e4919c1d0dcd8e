const [mode, ...args] = process.argv.slice(2);
if (mode === "hello") console.log("hello");
else if (mode === "stdin") process.stdout.write("got " + require("fs").readFileSync(0, "utf8"));
else if (mode === "args") console.log(args.map((arg) => `[${arg}]`).join(""));
else if (mode === "exit") {
  console.error("bye");
  process.exitCode = 7;
} else if (mode === "crash") throw new Error("crash");
else if (mode === "utf8") console.log("héllo 世界 🦊 " + args[0]);
else if (mode === "spin") for (;;);
