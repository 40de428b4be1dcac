#include <cstdio>

int main() {
  std::puts("switchyard 0.1.0");
  return 0;
}
