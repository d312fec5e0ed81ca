// Pooling windows in three dimensions, padded with leading ones.
//
// Macros, for windows built into the kernel: EXTENT, STRIDE, PADDING, DILATION, each as
// three numbers. The loops over its elements then unroll, and their divisors are constants.
// Otherwise the window is an argument, for windows too wide to unroll. TELLS_OPEN: a switch's top
// bit is set if the maximum is positive. WIDE_SWITCH: a switch has 32 bits.
//
// Memory order is [outer][spatial][inner]. Contiguous ones have batch × channel planes
// outside and nothing inside. CHANNELS_LAST: the batch is outside, the channels are inside.
#pragma once

#include <elements.cuh>

#ifdef WIDE_SWITCH
using Switch = int;
#else
using Switch = Byte;
#endif

struct Window {
    long long extent[3], stride[3], padding[3], dilation[3];
};

__device__ __forceinline__ constexpr Position picked(
    int d, Position first, Position second, Position third) {
    return d == 0 ? first : d == 1 ? second : third;
}

#ifdef EXTENT
// A distance inside a window. Those of a window that is built in are small, whatever the tensors.
using Step = int;
#define PICKED(d, ...) picked(d, __VA_ARGS__)
#define EXTENT_OF(d) static_cast<int>(PICKED(d, EXTENT))
#define STRIDE_OF(d) static_cast<Step>(PICKED(d, STRIDE))
#define PADDING_OF(d) static_cast<Step>(PICKED(d, PADDING))
#define DILATION_OF(d) static_cast<Step>(PICKED(d, DILATION))
#define FOR_PLACES _Pragma("unroll")
#else
using Step = Position;
#define EXTENT_OF(d) static_cast<int>(window.extent[d])
#define STRIDE_OF(d) static_cast<Step>(window.stride[d])
#define PADDING_OF(d) static_cast<Step>(window.padding[d])
#define DILATION_OF(d) static_cast<Step>(window.dilation[d])
#define FOR_PLACES _Pragma("unroll 1")
#endif

// With 64 bits addresses take twice the registers: loops over the rows of a window are not unrolled,
// and the compiler is to keep as many threads on a multiprocessor as 64 registers each allow.
#if INDEX_BITS == 64
#define FOR_ROWS _Pragma("unroll 1")
#define BOUNDS __launch_bounds__(THREADS, 1024 / THREADS)
#else
#define FOR_ROWS FOR_PLACES
#define BOUNDS __launch_bounds__(THREADS)
#endif

// The steps from `low` to before `past`: those from a position that stay inside one dimension.
struct Span {
    Step low, past;

    __device__ __forceinline__ bool has(Step step) const { return step >= low && step < past; }
};

// The span of the steps from `least` to `most` that, taken from `start`, stay below a size.
__device__ __forceinline__ Span span_of(Position start, long long size, Step least, Step most) {
    const Position low = -start, past = static_cast<Position>(size) - start, end = most + 1;
    Span span;
    span.low = static_cast<Step>(low < least ? least : low > end ? end : low);
    span.past = static_cast<Step>(past < least ? least : past > end ? end : past);
    return span;
}

#ifdef TELLS_OPEN
constexpr int OPEN = 0x80;
#else
constexpr int OPEN = 0;
#endif
