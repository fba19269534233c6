#pragma once

#include "message.hpp"

#include <chrono>
#include <cstdint>
#include <string>

#include <terrace/storage_manager.hpp>

namespace example {

/// What the server can be asked for, as calls of the engine.
///
///     PUT  /chunks/KEY   stores the body under the key
///     GET  /chunks/KEY   the chunk, from memory or from below
///     POST /prefetch     {"keys": [KEY, ...]}: brings their longest prefix into memory, for those who GET it next
///     GET  /status       the engine's status as JSON
///     GET  /metrics      the same for Prometheus
///
/// KEY is an object_key as text, my-model@00000000@0000@1f, and stands in the path as it is.
class api {
public:
    /// chunk_bytes  the size of every chunk
    api(terrace::storage_manager& manager, std::uint64_t chunk_bytes);

    /// Errors     refusal, or std::invalid_argument, for what cannot be done
    /// Lifetime   the manager and the request outlive the call
    asio::awaitable<reply> answer(request& asked);

private:
    asio::awaitable<reply> put(request& asked, terrace::object_key key);
    asio::awaitable<reply> get(terrace::object_key key);
    asio::awaitable<reply> prefetch(request& asked);

    terrace::storage_manager& manager_;
    terrace::memory_layout layout_;
};

} // namespace example
