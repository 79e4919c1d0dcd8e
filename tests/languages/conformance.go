package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	switch os.Args[1] {
	case "hello":
		fmt.Println("hello")
	case "stdin":
		given, _ := io.ReadAll(os.Stdin)
		fmt.Print("got ", string(given))
	case "args":
		for _, arg := range os.Args[2:] {
			fmt.Printf("[%s]", arg)
		}
		fmt.Println()
	case "exit":
		fmt.Fprintln(os.Stderr, "bye")
		os.Exit(7)
	case "crash":
		panic("crash")
	case "utf8":
		fmt.Println("héllo 世界 🦊", os.Args[2])
	case "spin":
		for {
		}
	}
}
