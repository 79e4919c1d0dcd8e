import { readFileSync } from "node:fs";

type Mode = "talk" | "exit" | "crash" | "spin";
const [mode, ...args] = process.argv.slice(2) as [Mode, ...string[]];
if (mode === "talk") {
  console.log("héllo 世界 🦊");
  console.log(args.map((arg: string) => `[${arg}]`).join(""));
  process.stdout.write("got " + readFileSync(0, "utf8"));
} else if (mode === "exit") {
  console.error("bye");
  process.exitCode = 7;
} else if (mode === "crash") throw new Error("crash");
else if (mode === "spin") for (;;);
