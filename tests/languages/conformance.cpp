#include <iostream>
#include <stdexcept>
#include <string>

int main(int argc, char **argv) {
  const std::string mode = argv[1];
  if (mode == "hello") std::cout << "hello\n";
  if (mode == "stdin") std::cout << "got " << std::cin.rdbuf();
  if (mode == "args") {
    for (int n = 2; n < argc; n++) std::cout << '[' << argv[n] << ']';
    std::cout << '\n';
  }
  if (mode == "exit") {
    std::cerr << "bye\n";
    return 7;
  }
  if (mode == "crash") throw std::runtime_error("crash");
  if (mode == "utf8") std::cout << "héllo 世界 🦊 " << argv[2] << '\n';
  if (mode == "spin")
    for (volatile int n = 0;;) n = n + 1;
}
