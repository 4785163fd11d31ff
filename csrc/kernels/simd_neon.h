// The vector vocabulary for NEON on 64-bit ARM: 4 floats. Every such CPU has it; no flags are needed.
#pragma once

#if !defined(__aarch64__) || !defined(__ARM_NEON)
#error "simd_neon.h needs a 64-bit ARM target"
#endif

#include <arm_neon.h>

#include <cstdint>

#include "simd_common.h"

namespace fastseq {
namespace {

// Random words (philox.inl): 2 counters, each in a lane of 64 bits.
struct NeonWords {
  using V = uint64x2_t;
  static constexpr int kLanes = 2;
  static V set(uint32_t x) { return vdupq_n_u64(x); }
  // first, first + 1.
  static V count_from(uint32_t first) { return vaddq_u64(set(first), vcombine_u64(vcreate_u64(0), vcreate_u64(1))); }
  static V product(V a, V b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }  // multiplies the low halves
  static V high(V a) { return vshrq_n_u64(a, 32); }
  static V exclusive_or(V a, V b, V c) { return veorq_u64(veorq_u64(a, b), c); }
  // Stores the words of one counter after those of the other.
  static void store(const V (&words)[4], uint32_t* p) {
    const V front = vsliq_n_u64(words[0], words[1], 32);
    const V back = vsliq_n_u64(words[2], words[3], 32);
    vst1q_u32(p, vreinterpretq_u32_u64(vzip1q_u64(front, back)));
    vst1q_u32(p + 4, vreinterpretq_u32_u64(vzip2q_u64(front, back)));
  }
  // A bit for each of 16 words: 1 if the number in the word's `bits` is at least `least`.
  static uint32_t reached(const uint32_t* words, uint32_t bits, int32_t least) {
    uint32_t result = 0;
    for (int i = 0; i < 16; i += 4) {
      const int32x4_t numbers = vreinterpretq_s32_u32(vandq_u32(vld1q_u32(words + i), vdupq_n_u32(bits)));
      result |= vaddvq_u32(vandq_u32(vcgeq_s32(numbers, vdupq_n_s32(least)), powers_of_two())) << i;
    }
    return result;
  }
  // A word for each of 16 bits: all ones if the bit is 1, else zero.
  static void spread(uint32_t bits, uint32_t* masks) {
    for (int i = 0; i < 16; i += 4) vst1q_u32(masks + i, vtstq_u32(vdupq_n_u32(bits >> i), powers_of_two()));
  }

 private:
  static uint32x4_t powers_of_two() {  // 1, 2, 4, 8
    return vcombine_u32(vcreate_u32(uint64_t{2} << 32 | 1), vcreate_u32(uint64_t{8} << 32 | 4));
  }
};

struct NeonF32 {
  using T = float;
  using Words = NeonWords;
  using V = float32x4_t;
  using Flags = uint32x4_t;
  static constexpr int kLanes = 4;
  // 32 registers: 20 accumulators, 4 vectors of B, and room for 5 elements of A, which compilers load ahead and use as
  // lanes of the multiply-add. With 24 accumulators, GCC 12 spills. 20 accumulators keep 4 pipes with a latency of 4
  // busy, and a CPU can do the 9 loads beside 20 multiply-adds. A tail's tile of 3 x 2 would spill. With more than 2
  // activations together, GCC does not inline all calls.
  static constexpr Tiles kTiles{5, 4, 2, 2, 16, 2};
  static V set(T x) { return vdupq_n_f32(x); }
  static V load(const T* p) { return vld1q_f32(p); }
  // NEON has no masked loads; n is 1, 2 or 3.
  static V load_partial(const T* p, int n) {
    const float32x2_t none = vdup_n_f32(0.0F);
    if (n == 1) return vcombine_f32(vld1_lane_f32(p, none, 0), none);
    return vcombine_f32(vld1_f32(p), n == 2 ? none : vld1_lane_f32(p + 2, none, 0));
  }
  static void store(T* p, V v) { vst1q_f32(p, v); }
  static void store_partial(T* p, V v, int n) {
    if (n == 1) return vst1q_lane_f32(p, v, 0);
    vst1_f32(p, vget_low_f32(v));
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
  }
  static V add(V a, V b) { return vaddq_f32(a, b); }
  static V sub(V a, V b) { return vsubq_f32(a, b); }
  static V mul(V a, V b) { return vmulq_f32(a, b); }
  static V div(V a, V b) { return vdivq_f32(a, b); }
  static V sqrt(V a) { return vsqrtq_f32(a); }
  static V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  static V fnma(V a, V b, V c) { return vfmsq_f32(c, a, b); }
  static V abs(V a) { return vabsq_f32(a); }
  static V copy_sign(V magnitude, V sign) { return vbslq_f32(vdupq_n_u32(0x80000000U), sign, magnitude); }
  // A NaN in x remains in both. With a bound of 0, -0 remains, too, as with the other ISAs; the maximum instruction
  // would make it +0. (LLVM 14 uses that instruction for this code and for the scalar code alike.)
  static V at_least(V bound, V x) { return vbslq_f32(vcgtq_f32(bound, x), bound, x); }
  static V at_most(V bound, V x) { return vminq_f32(bound, x); }  // for bounds that are neither -0 nor NaN
  static Flags less(V a, V b) { return vcltq_f32(a, b); }
  static Flags less_or_nan(V a, V b) { return vorrq_u32(vcltq_f32(a, b), vmvnq_u32(vceqq_f32(b, b))); }
  static Flags same_bits(V a, V b) { return vceqq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)); }
  static V select(Flags flags, V yes, V no) { return vbslq_f32(flags, yes, no); }
  static V low_bits_as_exponent(V a) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), 23)); }
  static V reciprocal_guess(V a) {
    return vreinterpretq_f32_s32(vsubq_s32(vdupq_n_s32(kReciprocalMagic), vreinterpretq_s32_f32(a)));
  }

  // The sum of 16 lanes in four vectors: i and i + 8, then i + 4, i + 2, i + 1.
  static T add_lanes(const V (&parts)[4]) {
    const V four = vaddq_f32(vaddq_f32(parts[0], parts[2]), vaddq_f32(parts[1], parts[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
  }
};

}  // namespace
}  // namespace fastseq
