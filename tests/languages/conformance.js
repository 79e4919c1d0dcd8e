const [mode, ...args] = process.argv.slice(2);
if (mode === "talk") {
  console.log("héllo 世界 🦊");
  console.log(args.map((arg) => `[${arg}]`).join(""));
  process.stdout.write("got " + require("fs").readFileSync(0, "utf8"));
} else if (mode === "exit") {
  console.error("bye");
  process.exitCode = 7;
} else if (mode === "crash") throw new Error("crash");
else if (mode === "spin") for (;;);
