// What a test says when something is wrong.
#pragma once

#include <cstddef>
#include <string>

namespace fastlstm::native {

// Counts a failure and prints it; the test goes on. Any thread may call it.
void fail(const std::string& what);
int failure_count();

inline void check(bool right, const std::string& what) {
  if (!right) fail(what);
}

// That each number is within `tolerance` of the expected one, relative to the largest of them.
template <typename T>
void check_close(const T* found, const double* expected, std::ptrdiff_t count, double tolerance,
                 const std::string& what);

// That two arrays hold the same bytes.
void check_same_bits(const void* found, const void* expected, std::size_t bytes,
                     const std::string& what);

// The tests, each in a file of its name.
void test_activation();
void test_product();
void test_totals();
void test_equations();
void test_bfloat16();
void test_tiles();
void test_team_size();
void test_own_pool();

}  // namespace fastlstm::native
