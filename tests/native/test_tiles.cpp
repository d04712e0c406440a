// The model that stands for the tile registers: that it follows the published description, and that
// it ends the program where the processor would.
#define FASTLSTM_TARGET model_alone
#include <sys/wait.h>
#include <unistd.h>

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>

#include "check.h"
#include "numbers.h"
#include "tile_model.h"

namespace fastlstm::native {
namespace {

using model_alone::TileModel;

struct Configuration {
  unsigned char bytes[64] = {1};

  Configuration& shape(int tile, int rows, int row_bytes) {
    bytes[16 + 2 * tile] = static_cast<unsigned char>(row_bytes);
    bytes[48 + tile] = static_cast<unsigned char>(rows);
    return *this;
  }
};

// Sums of `rows` × `columns` in tile 0, from tiles 1 and 2 with `pairs` pairs of factors.
Configuration configuration_of(int rows, int pairs, int columns) {
  return Configuration()
      .shape(0, rows, 4 * columns)
      .shape(1, rows, 4 * pairs)
      .shape(2, pairs, 4 * columns);
}

// start + a[0]·b[0] + a[1]·b[1] + …, as one multiplication of tiles adds it up.
template <int count>
float dot(float start, const double (&a)[count], const double (&b)[count]) {
  static_assert(count % 2 == 0 && count <= 32, "a row of pairs");
  bfloat16 row[32] = {}, columns[32] = {};
  for (int i = 0; i < count; ++i) {
    row[i] = nearest<bfloat16>(a[i]);
    columns[i] = nearest<bfloat16>(b[i]);
  }
  TileModel model;
  model.configure(configuration_of(1, count / 2, 1).bytes);
  model.load(0, &start, 64);
  model.load(1, row, 64);
  model.load(2, columns, 4);  // one column: each pair is a row
  model.multiply_add(0, 1, 2);
  model.store(0, &start, 64);
  return start;
}

void check_arithmetic() {
  check(dot(1, {2, 3, 4, 5}, {6, 7, 8, 9}) == 111, "a sum of products");
  // 2^24 + 1 - 2^24: the one is kept where it has a chain of its own, and lost to the large one.
  const double large = 0x1p24;
  check(dot(0, {large, 1, -large, 0}, {1, 1, 1, 0}) == 1, "the first of the pairs have a chain");
  check(dot(0, {large, 0, 1, 0, -large, 0}, {1, 0, 1, 0, 1, 0}) == 0, "in order");
  check(dot(0x1p24f, {1, 1}, {1, 1}) == 0x1p24f + 2, "the chains come together before the sum");
  check(dot(0x1p24f, {1, 0}, {1, 0}) == 0x1p24f, "rounded to the even");
  const double least = FLT_MIN;
  check(dot(0, {least / 2, 0}, {0x1p20, 0}) == 0, "a subnormal factor is zero");
  check(dot(0, {least, 0}, {0.5, 0}) == 0, "a subnormal product is zero");
  check(dot(FLT_MIN / 2, {0, 0}, {0, 0}) == 0, "a subnormal sum is zero");
  check(dot(0, {least, 0}, {1, 0}) == FLT_MIN, "the least normal number is not");
  const double infinite = std::numeric_limits<double>::infinity();
  check(std::isinf(dot(0, {infinite, 1}, {1, 1})), "infinity stays");
  check(std::isnan(dot(0, {infinite, 1}, {0, 1})), "infinity times zero is not a number");
}

// Every number counts differently, so that each must be at its place.
void check_places() {
  constexpr int rows = 3, pairs = 5, columns = 7, row_stride = 29, column_stride = 19;
  bfloat16 a[rows * row_stride], b[pairs * 2 * column_stride];
  for (int i = 0; i < rows * row_stride; ++i) a[i] = nearest<bfloat16>(i % 13 - 6);
  for (int i = 0; i < pairs * 2 * column_stride; ++i) b[i] = nearest<bfloat16>(i % 11 - 5);
  float sums[rows][columns + 1];
  for (int i = 0; i < rows * (columns + 1); ++i)
    sums[i / (columns + 1)][i % (columns + 1)] = static_cast<float>(i);
  TileModel model;
  model.configure(configuration_of(rows, pairs, columns).bytes);
  model.load(0, sums, sizeof sums[0]);
  model.load(1, a, row_stride * sizeof a[0]);
  model.load(2, b, 2 * column_stride * sizeof b[0]);
  model.multiply_add(0, 1, 2);
  model.store(0, sums, sizeof sums[0]);
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      double expected = row * (columns + 1) + column;
      for (int k = 0; k < 2 * pairs; ++k)
        expected += value_of(a[row * row_stride + k]) *
                    value_of(b[k / 2 * 2 * column_stride + 2 * column + k % 2]);
      check(sums[row][column] == expected, "a product of tiles is elsewhere");
    }
    check(sums[row][columns] == row * (columns + 1) + columns, "written beside a tile");
  }
}

// Runs what must not return.
template <typename Work>
void check_ends(const char* what, const Work& work) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    work();
    _exit(0);
  }
  int status = 0;
  check(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status), what);
}

void check_limits() {
  const auto configured = [](const Configuration& configuration) {
    return [configuration] { TileModel().configure(configuration.bytes); };
  };
  const auto multiplied = [](const Configuration& configuration) {
    return [configuration] {
      TileModel model;
      model.configure(configuration.bytes);
      model.multiply_add(0, 1, 2);
    };
  };
  Configuration no_palette, other_palette, started, reserved;
  no_palette.bytes[0] = 0;
  other_palette.bytes[0] = 2;
  started.bytes[1] = 1;
  reserved.bytes[9] = 1;
  check_ends("palette 0 is taken", configured(no_palette));
  check_ends("palette 2 is taken", configured(other_palette));
  check_ends("a first row is taken", configured(started));
  check_ends("a reserved byte is taken", configured(reserved));
  check_ends("17 rows are taken", configured(Configuration().shape(3, 17, 64)));
  check_ends("65 bytes are taken", configured(Configuration().shape(3, 16, 65)));
  check_ends("a ninth tile is taken", configured(Configuration().shape(8, 16, 64)));
  check_ends("rows of nothing are taken", configured(Configuration().shape(0, 16, 0)));
  check_ends("unlike rows", multiplied(configuration_of(3, 4, 5).shape(1, 2, 16)));
  check_ends("unlike columns", multiplied(configuration_of(3, 4, 5).shape(0, 3, 16)));
  check_ends("unlike depths", multiplied(configuration_of(3, 4, 5).shape(2, 3, 20)));
  check_ends("a tile without a shape is used", multiplied(Configuration().shape(0, 1, 4)));
  check_ends("tiles are used before they have shapes", [] { TileModel().multiply_add(0, 1, 2); });
  check_ends("tiles are used after they were released", [] {
    TileModel model;
    model.configure(configuration_of(1, 1, 1).bytes);
    model.release();
    model.multiply_add(0, 1, 2);
  });
  check_ends("a tile is added to itself", [] {
    TileModel model;
    model.configure(configuration_of(1, 1, 1).bytes);
    model.multiply_add(1, 1, 2);
  });
}

}  // namespace

void test_tiles() {
  check_arithmetic();
  check_places();
  check_limits();
}

}  // namespace fastlstm::native
