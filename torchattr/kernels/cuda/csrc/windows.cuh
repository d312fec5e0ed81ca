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

// The smaller of the two, and at least 1.
__device__ __forceinline__ constexpr int at_most(int wanted, int limit) {
    return wanted < limit ? wanted : limit < 1 ? 1 : limit;
}

// Whether a position is inside, and not in the padding.
__device__ __forceinline__ bool is_within(Position at, long long size) {
    return at >= 0 && at < size;
}

#ifdef EXTENT
#define PICKED(d, ...) picked(d, __VA_ARGS__)
#define EXTENT_OF(d) static_cast<int>(PICKED(d, EXTENT))
#define STRIDE_OF(d) PICKED(d, STRIDE)
#define PADDING_OF(d) PICKED(d, PADDING)
#define DILATION_OF(d) PICKED(d, DILATION)
#define FOR_PLACES _Pragma("unroll")
#else
#define EXTENT_OF(d) static_cast<int>(window.extent[d])
#define STRIDE_OF(d) static_cast<Position>(window.stride[d])
#define PADDING_OF(d) static_cast<Position>(window.padding[d])
#define DILATION_OF(d) static_cast<Position>(window.dilation[d])
#define FOR_PLACES _Pragma("unroll 1")
#endif

#ifdef TELLS_OPEN
constexpr int OPEN = 0x80;
#else
constexpr int OPEN = 0;
#endif
