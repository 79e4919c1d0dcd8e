#include <iostream>
#include <stdexcept>
#include <string>

int main(int argc, char **argv) {
  const std::string mode = argv[1];
  if (mode == "talk") {
    std::cout << "héllo 世界 🦊\n";
    for (int n = 2; n < argc; n++) std::cout << '[' << argv[n] << ']';
    std::cout << "\ngot " << std::cin.rdbuf();
  }
  if (mode == "exit") {
    std::cerr << "bye\n";
    return 7;
  }
  if (mode == "crash") throw std::runtime_error("crash");
  if (mode == "spin")
    for (volatile int n = 0;;) n = n + 1;
}
