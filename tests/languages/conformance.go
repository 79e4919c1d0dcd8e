package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	switch os.Args[1] {
	case "talk":
		fmt.Println("héllo 世界 🦊")
		for _, arg := range os.Args[2:] {
			fmt.Printf("[%s]", arg)
		}
		given, _ := io.ReadAll(os.Stdin)
		fmt.Print("\ngot ", string(given))
	case "exit":
		fmt.Fprintln(os.Stderr, "bye")
		os.Exit(7)
	case "crash":
		panic("crash")
	case "spin":
		for {
		}
	}
}
