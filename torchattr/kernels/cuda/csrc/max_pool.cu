// The maximum of each window, and the number of the element that has it.
//
// A thread finds LANES maxima at one position of as many planes (contiguous memory) or adjacent
// channels (CHANNELS_LAST). They share the index arithmetic and the tests for the border.
//
// With channels last, lanes are read in 16 bytes at once where VECTORISED is defined. In contiguous
// memory neighbouring threads read neighbouring windows: windows begin at every stride, padded
// ones before a row does, so no vector would be aligned. The elements of a warp's load still fill
// whole sectors, which the windows share through L1. Reading several planes keeps as much
// in flight as a vector would: per thread 4 elements × 2 planes × 4 bytes for the window of 2 × 2.
//
// Bytes moved for n inputs and m outputs of s bytes: n·s read, m·s and m switches written.

#include <windows.cuh>

struct PoolShape {
    long long input[3];     // spatial sizes
    long long strides[5];   // of the input: batch, channel, spatial
    long long outers, threads;
    Divisor output[3], channels;   // channels: all of them, or with CHANNELS_LAST, groups of LANES
};

struct Best {
    float value[LANES];
    int place[LANES];
};

__device__ __forceinline__ Index offset_of(
    const PoolShape& shape, Position d, Position h, Position w) {
    return static_cast<Index>(d) * static_cast<Index>(shape.strides[2])
        + static_cast<Index>(h) * static_cast<Index>(shape.strides[3])
        + static_cast<Index>(w) * static_cast<Index>(shape.strides[4]);
}

// Loads the element at one offset of each lane's plane. What is not there is minus infinity, which
// never wins: loads without branches can be in flight together.
__device__ __forceinline__ void load_lanes(
    const Raw* __restrict__ x, const Index (&planes)[LANES], Index offset, bool is_there,
    Raw (&into)[LANES]) {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) into[lane] = LEAST;
    if (!is_there) return;
#ifdef VECTORISED
    load_run<LANES>(x + planes[0] + offset, into);
#else
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) into[lane] = __ldg(x + planes[lane] + offset);
#endif
}

// PyTorch takes the first of ties and the last NaN.
__device__ __forceinline__ void take_place(Best& best, const Raw (&raws)[LANES], int place) {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        const float value = widened(raws[lane]);
        const bool wins = value > best.value[lane] || value != value;
        best.value[lane] = wins ? value : best.value[lane];
        best.place[lane] = wins ? place : best.place[lane];
    }
}

// The steps from a window's first element that stay inside the input.
__device__ __forceinline__ Span inside_of(
    Position start, long long size, Step dilation, int extent) {
    return span_of(start, size, 0, dilation * (extent - 1));
}

// The first element of a window inside the input: it wins if all are minus infinity.
__device__ __forceinline__ int first_of(const Span& inside, Step dilation, int extent) {
    const Step first = (inside.low + dilation - 1) / dilation;
    return first < extent ? static_cast<int>(first) : 0;
}

#define INSIDE(d) inside_of(start[d], shape.input[d], DILATION_OF(d), EXTENT_OF(d))
#define FIRST(d) first_of(inside[d], DILATION_OF(d), EXTENT_OF(d))

extern "C" __global__ void BOUNDS max_pool(
    const Raw* __restrict__ x, Raw* __restrict__ output, Switch* __restrict__ switches,
    const PoolShape shape, const Window window) {
    const long long thread = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (thread >= shape.threads) return;

    Index rest = static_cast<Index>(thread);
#ifdef CHANNELS_LAST
    const Index inner = shape.channels.take(rest) * LANES;
#endif
    Position start[3];
    Index position = 0, positions = 1;
#pragma unroll
    for (int d = 2; d >= 0; --d) {
        const Index at = shape.output[d].take(rest);
        start[d] = static_cast<Position>(at) * STRIDE_OF(d) - PADDING_OF(d);
        position += at * positions;
        positions *= static_cast<Index>(shape.output[d].value);
    }

    // Offsets of each lane's plane in the input, and of its result from the first one's.
    Index planes[LANES];
#ifdef CHANNELS_LAST
    const Index result = static_cast<Index>(thread) * LANES, pitch = 1;
    constexpr int there = LANES;
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        planes[lane] = rest * static_cast<Index>(shape.strides[0])
            + (inner + lane) * static_cast<Index>(shape.strides[1]);
    }
#else
    const Index first_plane = rest * LANES;
    const Index result = first_plane * positions + position, pitch = positions;
    const Index left = static_cast<Index>(shape.outers) - first_plane;
    const int there = left < LANES ? static_cast<int>(left) : LANES;
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        // A lane without a plane reads the first one again, and writes nothing.
        Index batch = first_plane + (lane < there ? lane : 0);
        const Index channel = shape.channels.take(batch);
        planes[lane] = batch * static_cast<Index>(shape.strides[0])
            + channel * static_cast<Index>(shape.strides[1]);
    }
#endif

    // Where it is before the tensor's first element, it wraps around, and the steps lead it back.
    const Index corner = offset_of(shape, start[0], start[1], start[2]);
    const Span inside[3] = {INSIDE(0), INSIDE(1), INSIDE(2)};

    Best best;
    const int fallback =
        (FIRST(0) * EXTENT_OF(1) + FIRST(1)) * EXTENT_OF(2) + FIRST(2);
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        best.value[lane] = -__int_as_float(0x7f800000);
        best.place[lane] = fallback;
    }

FOR_PLACES
    for (int i = 0; i < EXTENT_OF(0); ++i) {
        const Step d = i * DILATION_OF(0);
        if (!inside[0].has(d)) continue;
FOR_ROWS
        for (int j = 0; j < EXTENT_OF(1); ++j) {
            const Step h = j * DILATION_OF(1);
FOR_PLACES
            for (int k = 0; k < EXTENT_OF(2); ++k) {
                const Step w = k * DILATION_OF(2);
                const Index offset = corner + offset_of(shape, d, h, w);
                Raw raws[LANES];
                load_lanes(x, planes, offset, inside[1].has(h) && inside[2].has(w), raws);
                take_place(best, raws, (i * EXTENT_OF(1) + j) * EXTENT_OF(2) + k);
            }
        }
    }

    Raw values[LANES];
    Switch places[LANES];
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        values[lane] = narrowed(best.value[lane]);
        const int open = best.value[lane] > 0.0f ? OPEN : 0;
        places[lane] = static_cast<Switch>(best.place[lane] | open);
    }
#ifdef VECTORISED
    store_run<LANES>(output + result, values);
    store_run<LANES>(switches + result, places);
#else
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
        if (lane < there) {
            output[result + lane * pitch] = values[lane];
            switches[result + lane * pitch] = places[lane];
        }
    }
#endif
}
