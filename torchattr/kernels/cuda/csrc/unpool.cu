// Gradients sent back through a max-pool: each input element sums the windows that chose it.
//
// A thread owns a tile of TILE_H × TILE_W elements (in LANES adjacent channels with CHANNELS_LAST),
// and visits each window that reaches into the tile once. Tiles are as wide as the stride or a
// multiple of it: the position of a window relative to its tile is then known at compile time, so
// that only those comparisons with a window are left that can hold. No atomics: every element is
// written once, and its sum runs over the windows in row-major order, the same in every run.
//
// Optional macros: MASKED, only windows whose maximum was positive count (as their switch
// tells); POSITIVE, only sums that are not negative pass. Together with the pool these are
// the gates of a ReLU before it. STORES_RUNS: a tile's row (or lanes) goes out in one
// store of up to 16 bytes. VECTORISED: lanes are loaded at once.
//
// Bytes moved for n inputs and m outputs of s bytes: m·s and m switches read, n·s written.

#include <windows.cuh>

struct UnpoolShape {
    long long input[3], output[3];   // spatial sizes
    long long inners;                // channels with CHANNELS_LAST, else 1
    long long threads;
    Divisor tiles[3], groups;        // tiles in each dimension; groups of LANES channels
};

// One dimension of a tile: the windows that reach into it, and their offsets from it.
//
// Window `base - back` begins `phase + back * stride` before the tile's first element. It is there if
// `back` is in `present`.
struct Reach {
    Position base;
    Step phase, most, least;
    Span present;
};

__device__ __forceinline__ Reach reach_of(
    Position tile, int width, Step extent, Step stride, Step padding, Step dilation,
    long long windows) {
    Reach reach;
    if (width % stride == 0) {
        reach.phase = padding % stride;
        reach.base = tile * (width / stride) + padding / stride;
    } else {
        // The tile is a single element.
        reach.base = (tile + padding) / stride;
        reach.phase = static_cast<Step>(tile + padding - reach.base * stride);
    }
    reach.most = dilation * (extent - 1) / stride;
    reach.least = -((stride - 1 + width - 1) / stride);
    reach.present = span_of(windows - 1 - reach.base, windows, reach.least, reach.most);
    return reach;
}

// The index, in one dimension of a window, of the element this far from its first one; -1: none.
__device__ __forceinline__ int place_at(Step distance, Step extent, Step dilation) {
    const bool is_in = distance >= 0 && distance <= dilation * (extent - 1);
    return is_in && distance % dilation == 0 ? static_cast<int>(distance / dilation) : -1;
}

// Whether a window that begins this far before a tile holds an element of it.
template <int WIDTH>
__device__ __forceinline__ bool holds_any(Step distance, Step extent, Step dilation) {
    bool any = false;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) any = any || place_at(distance + i, extent, dilation) >= 0;
    return any;
}

#define REACH(d, tile, width) \
    reach_of( \
        tile, width, EXTENT_OF(d), STRIDE_OF(d), PADDING_OF(d), DILATION_OF(d), shape.output[d])

// A window that is not there adds zero. Without branches, loads can be in flight together.
__device__ __forceinline__ void load_windows(
    const Raw* __restrict__ grads, const Switch* __restrict__ switches, Index at, bool is_there,
    float (&values)[LANES], int (&places)[LANES]) {
    Raw raws[LANES] = {};
    Switch chosen[LANES] = {};
    if (is_there) {
#ifdef VECTORISED
        load_run<LANES>(grads + at, raws);
        load_run<LANES>(switches + at, chosen);
#else
#pragma unroll
        for (int lane = 0; lane < LANES; ++lane) {
            raws[lane] = __ldg(grads + at + lane);
            chosen[lane] = __ldg(switches + at + lane);
        }
#endif
    }
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        values[lane] = widened(raws[lane]);
#ifdef MASKED
        values[lane] = chosen[lane] & 0x80 ? values[lane] : 0.0f;
#endif
        places[lane] = chosen[lane] & ~OPEN;
    }
}

extern "C" __global__ void BOUNDS unpool(
    const Raw* __restrict__ grads, const Switch* __restrict__ switches, Raw* __restrict__ result,
    const UnpoolShape shape, const Window window) {
    const long long thread = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (thread >= shape.threads) return;

    Index rest = static_cast<Index>(thread);
    const Index inner = shape.groups.take(rest) * LANES;
    const Position tile_w = static_cast<Position>(shape.tiles[2].take(rest));
    const Position tile_h = static_cast<Position>(shape.tiles[1].take(rest));
    const Position tile_d = static_cast<Position>(shape.tiles[0].take(rest));
    const Index outer = rest;
    const Index inners = static_cast<Index>(shape.inners);

    const Reach depth = REACH(0, tile_d, 1);
    const Reach rows = REACH(1, tile_h, TILE_H);
    const Reach columns = REACH(2, tile_w, TILE_W);

    const auto index_of = [&](Position d, Position h, Position w) {
        const Index row = static_cast<Index>(d) * static_cast<Index>(shape.output[1])
            + static_cast<Index>(h);
        return (row * static_cast<Index>(shape.output[2]) + static_cast<Index>(w)) * inners;
    };
    const Index volume = index_of(static_cast<Position>(shape.output[0]), 0, 0);
    const Index nearest =
        outer * volume + index_of(depth.base, rows.base, columns.base) + inner;

    // Where the tile's result begins, and how much of it is inside.
    const Position top = tile_h * TILE_H, left = tile_w * TILE_W;
    const Index slice = outer * static_cast<Index>(shape.input[0]) + static_cast<Index>(tile_d);
    const Index row = slice * static_cast<Index>(shape.input[1]) + static_cast<Index>(top);
    const Index column = row * static_cast<Index>(shape.input[2]) + static_cast<Index>(left);
    Raw* to = result + column * inners + inner;
    const Step height = span_of(top, shape.input[1], 0, TILE_H - 1).past;
    const Step width = span_of(left, shape.input[2], 0, TILE_W - 1).past;

    float sums[TILE_H][TILE_W][LANES] = {};
FOR_PLACES
    for (Step i = depth.most; i >= depth.least; --i) {
        const int place_d = place_at(
            depth.phase + i * STRIDE_OF(0), EXTENT_OF(0), DILATION_OF(0));
        if (place_d < 0 || !depth.present.has(i)) continue;
FOR_ROWS
        for (Step j = rows.most; j >= rows.least; --j) {
            const Step down = rows.phase + j * STRIDE_OF(1);
            if (!holds_any<TILE_H>(down, EXTENT_OF(1), DILATION_OF(1))) continue;
FOR_PLACES
            for (Step k = columns.most; k >= columns.least; --k) {
                const Step along = columns.phase + k * STRIDE_OF(2);
                if (!holds_any<TILE_W>(along, EXTENT_OF(2), DILATION_OF(2))) continue;
                const bool is_there = rows.present.has(j) && columns.present.has(k);
                const Index at = nearest - index_of(i, j, k);
                float values[LANES];
                int places[LANES];
                load_windows(grads, switches, at, is_there, values, places);
#pragma unroll
                for (int r = 0; r < TILE_H; ++r) {
                    const int place_h = place_at(down + r, EXTENT_OF(1), DILATION_OF(1));
#pragma unroll
                    for (int c = 0; c < TILE_W; ++c) {
                        const int place_w = place_at(along + c, EXTENT_OF(2), DILATION_OF(2));
                        if (place_h < 0 || place_w < 0) continue;
                        const int place =
                            (place_d * EXTENT_OF(1) + place_h) * EXTENT_OF(2) + place_w;
#pragma unroll
                        for (int lane = 0; lane < LANES; ++lane)
                            if (places[lane] == place) sums[r][c][lane] += values[lane];
                    }
                }
            }
        }
    }

#pragma unroll
    for (int r = 0; r < TILE_H; ++r) {
        if (r >= height) continue;
        Raw raws[TILE_W][LANES];
#pragma unroll
        for (int c = 0; c < TILE_W; ++c) {
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane) {
                float sum = sums[r][c][lane];
#ifdef POSITIVE
                sum = sum < 0.0f ? 0.0f : sum;
#endif
                raws[c][lane] = narrowed(sum);
            }
        }
#if defined(STORES_RUNS) && !defined(CHANNELS_LAST)
        Raw run[TILE_W];
#pragma unroll
        for (int c = 0; c < TILE_W; ++c) run[c] = raws[c][0];
        store_run<TILE_W>(to, run);
#else
#pragma unroll
        for (int c = 0; c < TILE_W; ++c) {
            if (c >= width) continue;
#ifdef STORES_RUNS
            store_run<LANES>(to + c * inners, raws[c]);
#else
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane) to[c * inners + lane] = raws[c][lane];
#endif
        }
#endif
        to += static_cast<Index>(shape.input[2]) * inners;
    }
}
