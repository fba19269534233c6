#pragma once

/// The whole engine. Adapters have headers of their own: <terrace/memory_adapter.hpp>, <terrace/file_adapter.hpp>.

#include <terrace/storage_manager.hpp>
#include <terrace/token_hasher.hpp>
