#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  const char *mode = argv[1];
  if (!strcmp(mode, "talk")) {
    puts("héllo 世界 🦊");
    for (int n = 2; n < argc; n++) printf("[%s]", argv[n]);
    printf("\ngot ");
    for (int c; (c = getchar()) != EOF;) putchar(c);
  }
  if (!strcmp(mode, "exit")) {
    fputs("bye\n", stderr);
    return 7;
  }
  if (!strcmp(mode, "crash")) abort();
  if (!strcmp(mode, "spin"))
    for (volatile int n = 0;; n++);
  return 0;
}
