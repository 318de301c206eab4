// Vectors of the compiler's target, and products of small matrices with them.
#pragma once

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace kdmri {

#if defined(__AVX512F__)
constexpr int kLanes = 16;     // floats of a vector
constexpr int kMostRows = 12;  // of a product: twice as many sums stay in registers
#elif defined(__AVX__)
constexpr int kLanes = 8;
constexpr int kMostRows = 6;
#else
constexpr int kLanes = 4;
constexpr int kMostRows = 6;
#endif

// Needs no alignment beyond that of a float.
typedef float Vector __attribute__((vector_size(sizeof(float) * kLanes),
                                    aligned(alignof(float)), may_alias));

// The upper half of a float.
struct Bfloat16 {
  uint16_t bits;
};
typedef uint32_t Words __attribute__((vector_size(sizeof(Vector)), may_alias));
typedef uint16_t Halves __attribute__((vector_size(sizeof(Vector) / 2),
                                       aligned(alignof(uint16_t)), may_alias));

// To the nearest, of two the even one; NaN stays NaN.
inline Halves Round(Vector value) {
#if defined(__AVX512BF16__)
  return (Halves)_mm512_cvtneps_pbh((__m512)value);
#else
  const Words bits = (Words)value;
  const Words rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
  return __builtin_convertvector((value == value ? rounded : quiet) >> 16, Halves);
#endif
}

inline Vector Load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline Vector Load(const Bfloat16* from) {
  const Halves halves = *reinterpret_cast<const Halves*>(from);
  return (Vector)(__builtin_convertvector(halves, Words) << 16);
}
inline void Store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
inline void Store(Bfloat16* to, Vector value) {
  *reinterpret_cast<Halves*>(to) = Round(value);
}

// One number.
inline float Value(float number) { return number; }
inline float Value(Bfloat16 number) {
  const uint32_t bits = uint32_t(number.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline void Put(float* to, float value) { *to = value; }
inline void Put(Bfloat16* to, float value) { to->bits = Round(Vector{value})[0]; }

// Copies numbers, which may change their type.
template <class From, class To>
inline void Copy(const From* from, size_t count, To* to) {
  for (size_t k = 0; k < count; ++k) Put(to + k, Value(from[k]));
}

// A sum, `Vector{} + value`, would be computed, because it changes a value of -0.
inline Vector Fill(float value) { return value - Vector{}; }
inline Vector Where(Vector positive, Vector value) {
  return positive > 0 ? value : Vector{};
}

// ReLU; NaN stays NaN.
inline Vector Positive(Vector value) { return value <= 0 ? Vector{} : value; }

template <int kCount>
struct Part {
  typedef float Numbers __attribute__((vector_size(sizeof(float) * kCount),
                                       aligned(alignof(float)), may_alias));
};

// The sum of `kCount` numbers, halves first.
template <int kCount = kLanes>
inline float Sum(typename Part<kCount>::Numbers value) {
  if constexpr (kCount == 2) {
    return value[0] + value[1];
  } else {
    using Half = typename Part<kCount / 2>::Numbers;
    const Half* halves = reinterpret_cast<const Half*>(&value);
    return Sum<kCount / 2>(halves[0] + halves[1]);
  }
}

// Uninitialised numbers, aligned to a cache line.
template <class Number>
class Numbers {
 public:
  explicit Numbers(size_t size) : data_(new (std::align_val_t{64}) Number[size]) {}
  ~Numbers() { ::operator delete[](data_, std::align_val_t{64}); }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  operator Number*() const { return data_; }

 private:
  Number* data_;
};
using Floats = Numbers<float>;

// Scratch memory of this thread, reused by all calls.
inline float* Scratch(size_t size) {
  static thread_local size_t held = 0;
  static thread_local std::unique_ptr<Floats> floats;
  if (held < size) {
    floats = std::make_unique<Floats>(size);
    held = size;
  }
  return *floats;
}

// Factors of a product: vectors of floats, or where the CPU multiplies them, vectors of
// pairs of Bfloat16, whose products it adds to a vector of floats.
inline Vector LoadFactors(const float* from) { return Load(from); }
inline Vector FillFactors(const float* from) { return Fill(*from); }
inline Vector AddProduct(Vector sum, Vector a, Vector b) { return sum + a * b; }
template <class Factor>
constexpr int kTogether = 1;

#if defined(__AVX512BF16__)
template <class Number>
using FactorOf = Number;
template <>
constexpr int kTogether<Bfloat16> = 2;
inline __m512bh LoadFactors(const Bfloat16* from) {
  return (__m512bh)_mm512_loadu_si512(from);
}
inline __m512bh FillFactors(const Bfloat16* from) {
  int pair;
  std::memcpy(&pair, from, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}
inline Vector AddProduct(Vector sum, __m512bh a, __m512bh b) {
  return (Vector)_mm512_dpbf16_ps((__m512)sum, a, b);
}
#else
template <class Number>
using FactorOf = float;
#endif

// A matrix [rows, columns] as the right factor of `Multiply` reads it; the rows are a
// multiple of kTogether.
template <class Factor>
inline void Pack(const float* from, int rows, int columns, Factor* to) {
  constexpr int kRows = kTogether<Factor>;
  for (int row = 0; row < rows; row += kRows)
    for (int column = 0; column < columns; ++column)
      for (int k = 0; k < kRows; ++k)
        Put(to++, from[size_t(row + k) * columns + column]);
}

// A matrix that is read element by element.
template <class Factor>
struct Scalars {
  const Factor* data;
  size_t row, column;  // steps to the next
};

// Calls work(at, number) for all vectors of `channels` floats: for two at a time, and
// for the last one alone where their count is odd. `number` is an integral_constant.
template <class Work>
inline void ByVectors(int channels, const Work& work) {
  int at = 0;
  for (; at + 2 * kLanes <= channels; at += 2 * kLanes)
    work(at, std::integral_constant<int, 2>{});
  if (at < channels) work(at, std::integral_constant<int, 1>{});
}

template <class Factor, int kRows>
void MultiplyRows(Scalars<Factor> a, const Factor* b, float* c, int inner, int columns,
                  bool add) {
  using Factors = decltype(LoadFactors(b));
  constexpr int kStep = kTogether<Factor>;
  ByVectors(columns, [=](int at, auto number) {
    constexpr int kVectors = decltype(number)::value;
    Vector sum[kRows][kVectors] = {};
    for (int k = 0; k < inner; k += kStep) {
      Factors line[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v)
        line[v] = LoadFactors(b + size_t(k) * columns + kStep * (at + v * kLanes));
#pragma GCC unroll 12
      for (int row = 0; row < kRows; ++row) {
        const Factors value = FillFactors(a.data + row * a.row + k * a.column);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v)
          sum[row][v] = AddProduct(sum[row][v], value, line[v]);
      }
    }
#pragma GCC unroll 12
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        float* to = c + size_t(row) * columns + at + v * kLanes;
        Store(to, add ? Load(to) + sum[row][v] : sum[row][v]);
      }
  });
}

template <class Factor, int... kRows>
constexpr auto ByRows(std::integer_sequence<int, kRows...>) {
  return std::array{MultiplyRows<Factor, kRows + 1>...};
}

// c = a b, or c += a b: a [rows, inner], b [inner, columns] from `Pack`, c [rows,
// columns]; the columns are a multiple of kLanes. Factors that are read together are
// neighbours in a.
template <class Factor>
void Multiply(Scalars<Factor> a, const Factor* b, float* c, int rows, int inner,
              int columns, bool add) {
  static constexpr auto kMultiply =
      ByRows<Factor>(std::make_integer_sequence<int, kMostRows>{});
  const int blocks = (rows + kMostRows - 1) / kMostRows;
  for (int block = 0; block < blocks; ++block) {
    const int first = rows * block / blocks, end = rows * (block + 1) / blocks;
    const Scalars<Factor> part = {a.data + first * a.row, a.row, a.column};
    kMultiply[end - first - 1](part, b, c + size_t(first) * columns, inner, columns,
                               add);
  }
}

}  // namespace kdmri
