// Shared by the kernels: the element type, vectors of 16 bytes, indices and their division.
//
// Macros: FLOAT32, BFLOAT16, FLOAT16 or BOOL; INDEX_BITS, 32 or 64; THREADS, the
// threads of a block.
#pragma once

#include <conversions.cuh>

using Byte = unsigned char;

// An element in memory. All arithmetic is in float.
#if defined(FLOAT32)
using Raw = unsigned;
__device__ __forceinline__ float widened(Raw raw) { return __uint_as_float(raw); }
__device__ __forceinline__ Raw narrowed(float value) { return __float_as_uint(value); }
constexpr Raw LEAST = 0xff800000u;   // minus infinity
#elif defined(BFLOAT16)
using Raw = unsigned short;
__device__ __forceinline__ float widened(Raw raw) { return float_of_bfloat(raw); }
__device__ __forceinline__ Raw narrowed(float value) { return bfloat_of_float(value); }
constexpr Raw LEAST = 0xff80;
#elif defined(FLOAT16)
using Raw = unsigned short;
__device__ __forceinline__ float widened(Raw raw) { return float_of_half(raw); }
__device__ __forceinline__ Raw narrowed(float value) { return half_of_float(value); }
constexpr Raw LEAST = 0xfc00;
#elif defined(BOOL)
using Raw = unsigned char;
__device__ __forceinline__ float widened(Raw raw) { return raw ? 1.0f : 0.0f; }
__device__ __forceinline__ Raw narrowed(float value) { return value != 0.0f; }
#else
#error "no type of elements is defined"
#endif

// Elements in 16 bytes, the most that one thread moves in one instruction.
constexpr int VECTOR = 16 / sizeof(Raw);

union Vector {
    uint4 words;
    Raw at[VECTOR];
};

// A word of this many bytes.
template <int BYTES> struct Word;
template <> struct Word<16> { using Type = uint4; };
template <> struct Word<8> { using Type = uint2; };
template <> struct Word<4> { using Type = unsigned; };
template <> struct Word<2> { using Type = unsigned short; };
template <> struct Word<1> { using Type = unsigned char; };

// Stores several items, 1 to 16 aligned bytes, in one access.
template <int COUNT, class Item>
__device__ __forceinline__ void store_run(Item* to, const Item (&from)[COUNT]) {
    using Whole = typename Word<COUNT * sizeof(Item)>::Type;
    union { Whole word; Item at[COUNT]; } run;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) run.at[i] = from[i];
    // An assignment may be split into stores of 4 bytes; this is one instruction.
    __stwb(reinterpret_cast<Whole*>(to), run.word);
}

template <int COUNT, class Item>
__device__ __forceinline__ void load_run(const Item* __restrict__ from, Item (&to)[COUNT]) {
    using Whole = typename Word<COUNT * sizeof(Item)>::Type;
    union { Whole word; Item at[COUNT]; } run;
    run.word = __ldg(reinterpret_cast<const Whole*>(from));
#pragma unroll
    for (int i = 0; i < COUNT; ++i) to[i] = run.at[i];
}

// An offset in memory, and a position in one dimension, which is negative in the padding.
#if INDEX_BITS == 64
using Index = unsigned long long;
using Position = long long;
#else
using Index = unsigned;
using Position = int;
#endif

// A divisor, prepared for cheap division: with 32 bits a multiplication and a shift
// (Granlund and Montgomery 1994) for dividends below 2^31. With 64 bits it is a plain division.
struct Divisor {
    long long value, magic, shift;

    __device__ __forceinline__ Index quotient(Index dividend) const {
#if INDEX_BITS == 64
        return dividend / static_cast<Index>(value);
#else
        return (__umulhi(dividend, static_cast<unsigned>(magic)) + dividend) >> shift;
#endif
    }

    // Returns the remainder and replaces the dividend by the quotient.
    __device__ __forceinline__ Index take(Index& dividend) const {
        const Index whole = quotient(dividend);
        const Index rest = dividend - whole * static_cast<Index>(value);
        dividend = whole;
        return rest;
    }
};
