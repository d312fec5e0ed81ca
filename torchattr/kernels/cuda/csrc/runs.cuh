// How a warp walks through a run of memory that has one mask bit for each element.
//
// A warp takes ROUNDS vectors of 16 bytes for each of its lanes, side by side, so that each of its
// loads and stores is one full 512 bytes. With 16-bit elements a vector is a byte of the mask. With
// 32-bit elements it is half of one: neighbours exchange their halves, and each stores one byte.
// Giving a thread 8 adjacent floats instead would need no exchange, but then each instruction
// would touch every 32-byte sector by half, and the number of writes that reach L2 would double.
// Ballots for each element would give the bits in another order than vectors give the elements.
//
// The end of a run, and a run that is not aligned to 16 bytes, is processed element by element.
// There a lane has one bit of a word, and a ballot collects it.
//
// One tile for each warp, no loop over the grid: 2 vectors a thread at full occupancy are 64 KiB in
// flight on a multiprocessor, about twice of what hides the memory's latency, and the order of
// tiles is left to the hardware. Only a tile's base needs 64 bits, so size is not limited.
#pragma once

#include <elements.cuh>

constexpr int WARP = 32;
constexpr int ROUNDS = 2;
constexpr int TILE = ROUNDS * WARP * VECTOR;
constexpr unsigned EVERY_LANE = 0xffffffffu;

__device__ __forceinline__ int lane_of_thread() { return threadIdx.x % WARP; }

// The first element of this warp's tile.
__device__ __forceinline__ long long tile_of_warp() {
    return (static_cast<long long>(blockIdx.x) * (THREADS / WARP) + threadIdx.x / WARP) * TILE;
}

// Whether the tile is processed vector by vector: it is whole and aligned.
__device__ __forceinline__ bool is_vectorised(long long first, long long count) {
#ifdef ALIGNED
    return first + TILE <= count;
#else
    return false;
#endif
}

// Runs are read once, so loads bypass the caches. Stores stay there: they are read next.
__device__ __forceinline__ Vector load_vector(const Raw* from) {
    Vector vector;
    vector.words = __ldcs(reinterpret_cast<const uint4*>(from));
    return vector;
}

__device__ __forceinline__ void store_vector(Raw* to, const Vector& vector) {
    __stwb(reinterpret_cast<uint4*>(to), vector.words);
}

// The offset of a lane's byte in a tile's mask, for vectors that are half a byte: that of the pair's
// first round with the even lane, of its second round with the odd one.
__device__ __forceinline__ int own_byte() {
    const int lane = lane_of_thread();
    return lane / 2 + lane % 2 * (WARP / 2);
}

// `bits` has a lane's mask bits in each round; `mask` begins at the tile.
__device__ __forceinline__ void store_bits(Byte* mask, const unsigned (&bits)[ROUNDS]) {
    if constexpr (VECTOR == 4) {
        const bool odd = lane_of_thread() % 2;
        const unsigned other = __shfl_xor_sync(EVERY_LANE, odd ? bits[0] : bits[1], 1);
        const unsigned whole = odd ? other | bits[1] << 4 : bits[0] | other << 4;
        __stcs(mask + own_byte(), static_cast<Byte>(whole));
    } else {
        constexpr int BYTES = VECTOR / 8;
#pragma unroll
        for (int round = 0; round < ROUNDS; ++round) {
            const int at = (round * WARP + lane_of_thread()) * BYTES;
#pragma unroll
            for (int i = 0; i < BYTES; ++i)
                __stcs(mask + at + i, static_cast<Byte>(bits[round] >> 8 * i));
        }
    }
}

__device__ __forceinline__ void load_bits(const Byte* mask, unsigned (&bits)[ROUNDS]) {
    if constexpr (VECTOR == 4) {
        const bool odd = lane_of_thread() % 2;
        const unsigned own = __ldcs(mask + own_byte());
        const unsigned other = __shfl_xor_sync(EVERY_LANE, own, 1);
        bits[0] = odd ? other >> 4 : own & 15;
        bits[1] = odd ? own >> 4 : other & 15;
    } else {
        // A vector of 16-bit elements; booleans have no gradients.
#pragma unroll
        for (int round = 0; round < ROUNDS; ++round)
            bits[round] = __ldcs(mask + round * WARP + lane_of_thread());
    }
}
