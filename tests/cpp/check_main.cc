// Runs the unit tests of a program. The first failure ends it.
#include "check.h"

namespace fastseq::test {

std::vector<Test>& all_tests() {
  static std::vector<Test> tests;
  return tests;
}

}  // namespace fastseq::test

int main() {
  for (const fastseq::test::Test& test : fastseq::test::all_tests()) {
    std::printf("%s\n", test.name);
    std::fflush(stdout);  // a test that crashes is the last one named
    test.run();
  }
  return fastseq::test::all_tests().empty() ? 1 : 0;
}
