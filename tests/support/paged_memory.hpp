#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <terrace/cuda/transfer_backend.hpp>

namespace terrace::test {

/// The tensors of some engine, as its documentation would describe them. The tests find an element by walking the
/// dimensions in order, and share no arithmetic with the library.
struct engine_tensors {
    std::string name;
    cuda::page_shape shape;
    std::vector<cuda::axis> order; ///< of each tensor; a tensor for each layer and kv that is missing

    [[nodiscard]] std::size_t tensors() const;
    [[nodiscard]] std::size_t tensor_bytes() const;
};

/// Those that people run: one tensor or one a layer, K and V apart, side by side or interleaved, MLA, all layers in a
/// page; fp16, bf16 and fp8.
[[nodiscard]] std::vector<engine_tensors> engines();

/// The tensors in memory of a backend, and a copy of what they are to hold.
class paged_memory {
public:
    /// Full of random bytes.
    paged_memory(cuda::transfer_backend& backend, engine_tensors engine, std::mt19937_64& random);

    [[nodiscard]] cuda::page_layout layout() const;
    /// Whether the backend's memory holds what the copy does.
    [[nodiscard]] bool as_expected() const;

    /// What a gather has to put into an object; bytes of tokens that do not move stay.
    void expect_gathered(const cuda::object_layout& objects, const cuda::paged_chunk& chunk, cuda::layer_range layers,
                         std::vector<std::byte>& object) const;
    /// What a scatter has to make of the tensors: changes the copy.
    void expect_scattered(const cuda::object_layout& objects, const cuda::paged_chunk& chunk, cuda::layer_range layers,
                          const std::vector<std::byte>& object);

private:
    template <class F>
    void for_each_element(const cuda::object_layout& objects, const cuda::paged_chunk& chunk, cuda::layer_range layers,
                          F f) const;

    cuda::transfer_backend& backend_;
    engine_tensors engine_;
    std::vector<cuda::device_buffer> buffers_;
    std::vector<std::vector<std::byte>> expected_;
};

/// Random bytes.
[[nodiscard]] std::vector<std::byte> random_bytes(std::size_t n, std::mt19937_64& random);

/// Other pages for a chunk of so many tokens from some slot on, by chance, no page twice.
[[nodiscard]] cuda::paged_chunk random_chunk(const cuda::page_shape& shape, std::uint32_t tokens, std::uint32_t slot,
                                             std::mt19937_64& random);

/// Moves a job, and returns when it is done.
using mover = std::function<void(const cuda::transfer_job&)>;
/// Host memory of the objects: aligned, and freed with the last copy.
using object_memory = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;
[[nodiscard]] std::shared_ptr<std::byte> plain_memory(std::size_t bytes);

/// By a backend. Throws what it reports.
[[nodiscard]] mover moved_by(cuda::transfer_backend& backend);

/// Gathers chunks from pages, compares the objects with the naive ones, scatters them to other pages of other memory,
/// and compares all of that: what was to change has, and nothing else. Everything is random or poisoned before.
void check_round_trip(cuda::transfer_backend& backend, const mover& move, const engine_tensors& engine,
                      const cuda::object_layout& objects, std::mt19937_64& random,
                      const object_memory& memory = plain_memory);

/// The same with chunks that begin and end inside pages and move a part of their tokens, in all object layouts.
void check_all_round_trips(cuda::transfer_backend& backend, const mover& move, const engine_tensors& engine,
                           std::mt19937_64& random, const object_memory& memory = plain_memory);

} // namespace terrace::test
