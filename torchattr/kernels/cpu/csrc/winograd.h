// 3 × 3 convolutions of stride 1 by Winograd's minimal filtering (Lavin, Gray 2015,
// arXiv:1509.09308).
//
// A tile of m × n outputs, each 1 to 4, takes (m + 2)(n + 2) products a channel. The points of
// evaluation are 0, ∞, 1, −1, 2, −2, of which a tile uses the first m + 2, so that tiles of all
// sizes share one set of transformed weights: factors that depend on m are part of the input
// transform. Each pair of points is one matrix product with a row for each tile.

#pragma once

#include "points.h"
#include "product.h"

namespace {

struct Tile {
  Place place;
  int high, wide;
  int32_t rank[kTile][kTile];  // among the tiles that are higher and wider than so much
};

// The tiles that cover boxes, one after the other.
class Tiling {
 public:
  explicit Tiling(const Wanted& wanted)
      : wanted_(wanted), firsts_(new int64_t[wanted.variants + 1]) {
    int64_t total = 0;
    for (int64_t i = 0; i < wanted.variants; ++i) {
      firsts_[i] = total;
      total += across(i, kTop, kBottom) * across(i, kLeft, kRight);
    }
    firsts_[wanted.variants] = total;
  }

  int64_t count() const { return firsts_[wanted_.variants]; }

  Tile get(int64_t index) const {
    const int64_t* firsts = firsts_.get();
    const int64_t variant =
        std::upper_bound(firsts, firsts + wanted_.variants + 1, index) - firsts - 1;
    const int64_t* box = wanted_.boxes + variant * kColumns;
    const int64_t within = index - firsts_[variant], wide = across(variant, kLeft, kRight);
    const int64_t down = box[kTop] + within / wide * kTile;
    const int64_t right = box[kLeft] + within % wide * kTile;
    Tile tile;
    tile.place = {variant, down, right};
    tile.high = std::min<int64_t>(kTile, box[kBottom] - down);
    tile.wide = std::min<int64_t>(kTile, box[kRight] - right);
    return tile;
  }

 private:
  int64_t across(int64_t variant, Column low, Column high) const {
    const int64_t* box = wanted_.boxes + variant * kColumns;
    return (box[high] - box[low] + kTile - 1) / kTile;
  }

  const Wanted& wanted_;
  std::unique_ptr<int64_t[]> firsts_;
};

// The size beyond which a tile has a point.
inline int least(int point) { return std::max(0, point - 2); }

// The matrices of a block of tiles, one after the other for each pair of points.
struct Block {
  int64_t inputs, outputs, slices;  // slices of depth
  int64_t counts[kTile][kTile];     // tiles higher and wider than so much
  int64_t capacity;                 // tiles
  int64_t shared;                   // adjacent matrices, if they have few columns
  float* seen[kPoints][kPoints];    // [slice][tile][kDistance]
  float* products[kPoints][kPoints];  // [tile][distance]
  int64_t distance;

  Block(int64_t inputs, int64_t outputs)
      : inputs(inputs), outputs(outputs), slices((inputs + kDepth - 1) / kDepth), capacity(0),
        shared(std::max<int64_t>(1, kDistance / padded(inputs))), distance(padded(outputs) + 16) {}

  int64_t floats(int64_t tiles) const {
    const int64_t matrices = kPoints * kPoints, groups = (matrices + shared - 1) / shared;
    return tiles * (groups * slices * kDistance + matrices * distance);
  }

  void lay_out(Tile* tiles, int64_t count, float* memory) {
    std::memset(counts, 0, sizeof counts);
    for (Tile* tile = tiles; tile < tiles + count; ++tile) {
      for (int i = 0; i < tile->high; ++i) {
        for (int j = 0; j < tile->wide; ++j) tile->rank[i][j] = int32_t(counts[i][j]++);
      }
    }
    capacity = count;
    for (int64_t point = 0; point < kPoints * kPoints; ++point) {
      const int64_t i = point / kPoints, j = point % kPoints;
      products[i][j] = memory + point * count * distance;
      seen[i][j] = memory + kPoints * kPoints * count * distance +
                   point / shared * count * slices * kDistance + point % shared * padded(inputs);
    }
  }
};

template <int kHigh, int kWide>
void transform_input(const Patches& x, const Window& window, const Block& block, const Tile& tile,
                     const float* zeros) {
  const float* from[kHigh + 2][kWide + 2];
  for (int i = 0; i < kHigh + 2; ++i) {
    for (int j = 0; j < kWide + 2; ++j) {
      const float* at = pixel(x, tile.place.variant, tile.place.down - window.padding[0] + i,
                              tile.place.right - window.padding[1] + j);
      from[i][j] = at == nullptr ? zeros : at;
    }
  }
  for (int64_t slice = 0; slice < block.slices; ++slice) {
    float* to[kHigh + 2][kWide + 2];
    for (int i = 0; i < kHigh + 2; ++i) {
      for (int j = 0; j < kWide + 2; ++j) {
        const int64_t row = slice * block.capacity + tile.rank[least(i)][least(j)];
        to[i][j] = block.seen[i][j] + row * kDistance;
      }
    }
    const int64_t start = slice * kDepth, depth = std::min(kDepth, block.inputs - start);
    for (int64_t c = 0; c < depth; c += kLanes) {
      for (int i = 0; kWide == kTile && i < kHigh + 2; ++i) {
#pragma GCC unroll 6
        for (int j = 2; j < kWide + 2; ++j) {
          // The part that the tile to the right does not share with this one.
          __builtin_prefetch(from[i][j] + kTile * block.inputs + start + c);
        }
      }
      Vec half[kHigh + 2][kWide + 2];
#pragma GCC unroll 6
      for (int j = 0; j < kWide + 2; ++j) {
        Vec column[kHigh + 2], at[kHigh + 2];
#pragma GCC unroll 6
        for (int i = 0; i < kHigh + 2; ++i) column[i] = load(from[i][j] + start + c, depth - c);
        to_points<kHigh>(column, at);
#pragma GCC unroll 6
        for (int i = 0; i < kHigh + 2; ++i) half[i][j] = at[i];
      }
#pragma GCC unroll 6
      for (int i = 0; i < kHigh + 2; ++i) {
        Vec at[kWide + 2];
        to_points<kWide>(half[i], at);
#pragma GCC unroll 6
        for (int j = 0; j < kWide + 2; ++j) store(to[i][j] + c, at[j]);
      }
    }
  }
}

// Returns whether all computed values are finite.
template <int kHigh, int kWide>
bool transform_output(const Wanted& wanted, const Block& block, const Tile& tile,
                      const After& after) {
  const float* from[kHigh + 2][kWide + 2];
  for (int i = 0; i < kHigh + 2; ++i) {
    for (int j = 0; j < kWide + 2; ++j) {
      from[i][j] = block.products[i][j] + tile.rank[least(i)][least(j)] * block.distance;
    }
  }
  const int64_t* box = wanted.boxes + tile.place.variant * kColumns;
  const int64_t wide = box[kRight] - box[kLeft];
  const int64_t row =
      box[kStart] + (tile.place.down - box[kTop]) * wide + tile.place.right - box[kLeft];
  float* to = wanted.result + row * block.outputs;
  const float* residual[kHigh][kWide] = {};
  for (int i = 0; after.residual != nullptr && i < kHigh; ++i) {
    for (int j = 0; j < kWide; ++j) {
      residual[i][j] = pixel(*after.residual, tile.place.variant, tile.place.down + i,
                             tile.place.right + j);
    }
  }
  const Vec lower = all(after.lower), upper = all(after.upper);
  Vec odd = {};
  for (int64_t n = 0; n < block.outputs; n += kLanes) {
    const int64_t lanes = block.outputs - n;
    Vec half[kHigh][kWide + 2];
#pragma GCC unroll 6
    for (int j = 0; j < kWide + 2; ++j) {
      Vec at[kHigh + 2], column[kHigh];
#pragma GCC unroll 6
      for (int i = 0; i < kHigh + 2; ++i) {
        at[i] = load(from[i][j] + n);
        __builtin_prefetch(from[i][j] + n + block.distance);
      }
      from_points<kHigh>(at, column);
#pragma GCC unroll 4
      for (int i = 0; i < kHigh; ++i) half[i][j] = column[i];
    }
    const Vec bias = after.bias == nullptr ? Vec{} : load(after.bias + n, lanes);
#pragma GCC unroll 4
    for (int i = 0; i < kHigh; ++i) {
      Vec y[kWide];
      from_points<kWide>(half[i], y);
#pragma GCC unroll 4
      for (int j = 0; j < kWide; ++j) {
        odd += y[j] * 0;  // NaN, if y is not finite
        Vec value = y[j] + bias;
        if (after.residual != nullptr) value += load(residual[i][j] + n, lanes);
        store(to + (i * wide + j) * block.outputs + n, clamped(value, lower, upper), lanes);
      }
    }
  }
  bool is_finite = true;
  for (int lane = 0; lane < kLanes; ++lane) is_finite = is_finite && odd[lane] == 0;
  return is_finite;
}

using ToSeen = void (*)(const Patches&, const Window&, const Block&, const Tile&, const float*);
using FromProducts = bool (*)(const Wanted&, const Block&, const Tile&, const After&);

#define TORCHATTR_SIZES(name)                                                              \
  {{name<1, 1>, name<1, 2>, name<1, 3>, name<1, 4>}, {name<2, 1>, name<2, 2>, name<2, 3>, name<2, 4>}, \
   {name<3, 1>, name<3, 2>, name<3, 3>, name<3, 4>}, {name<4, 1>, name<4, 2>, name<4, 3>, name<4, 4>}}

constexpr ToSeen kToSeen[kTile][kTile] = TORCHATTR_SIZES(transform_input);
constexpr FromProducts kFromProducts[kTile][kTile] = TORCHATTR_SIZES(transform_output);

#undef TORCHATTR_SIZES

inline void multiply_block(const Block& block, const float* packed) {
  const int64_t panel = std::min(kPanel, padded(block.outputs));
  for (int i = 0; i < kPoints; ++i) {
    for (int j = 0; j < kPoints; ++j) {
      const int64_t rows = block.counts[least(i)][least(j)];
      const float* weights = packed + (i * kPoints + j) * block.inputs * padded(block.outputs);
      for (int64_t slice = 0; rows > 0 && slice < block.slices; ++slice) {
        const int64_t start = slice * kDepth, depth = std::min(kDepth, block.inputs - start);
        Target target = {};
        target.to = block.products[i][j];
        target.distance = block.distance;
        target.columns = padded(block.outputs);
        target.adds = slice > 0;
        multiply_all(rows, depth, block.seen[i][j] + slice * block.capacity * kDistance, weights, start,
                     block.inputs, target,
                     slice + 1 < block.slices ? weights + (start + kDepth) * panel
                                              : weights + block.inputs * padded(block.outputs));
      }
    }
  }
}

}  // namespace

extern "C" {

// Returns whether all results are finite. If not, they must be computed in another way: one value
// that is not finite turns all outputs of its tile into NaN here.
int torchattr_winograd(const Patches* x, const Wanted* wanted, const Window* window,
                       int64_t outputs, const float* packed, const After* after, int64_t most,
                       int threads) {
  const Tiling tiling(*wanted);
  const Cut cut(tiling.count(), most, threads);
  int is_finite = 1;
#pragma omp parallel num_threads(threads) reduction(&& : is_finite)
  {
    thread_local Scratch scratch, more;
    Block block(x->channels, outputs);
    float* zeros = scratch.get<float>(block.floats(cut.size) + padded(x->channels));
    Tile* tiles = more.get<Tile>(cut.size);
    std::fill(zeros, zeros + padded(x->channels), 0.0f);
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < cut.count; ++item) {
      const int64_t first = cut.first(item), count = cut.last(item) - first;
      for (int64_t i = 0; i < count; ++i) tiles[i] = tiling.get(first + i);
      block.lay_out(tiles, count, zeros + padded(x->channels));
      for (const Tile* tile = tiles; tile < tiles + count; ++tile) {
        kToSeen[tile->high - 1][tile->wide - 1](*x, *window, block, *tile, zeros);
      }
      multiply_block(block, packed);
      for (const Tile* tile = tiles; tile < tiles + count; ++tile) {
        const auto transform = kFromProducts[tile->high - 1][tile->wide - 1];
        is_finite = transform(*wanted, block, *tile, *after) && is_finite;
      }
    }
  }
  return is_finite;
}

}  // extern "C"
