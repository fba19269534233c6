#pragma once

#include <filesystem>
#include <sys/mount.h>
#include <utility>

namespace terrace::test {

/// A small file system of its own, if this process may mount one.
class small_disk {
public:
    explicit small_disk(std::filesystem::path at, const char* options, const char* type = "tmpfs") : at_{std::move(at)}
    {
        mounted_ = ::mount(type, at_.c_str(), type, 0, options) == 0;
    }
    small_disk(const small_disk&) = delete;
    small_disk& operator=(const small_disk&) = delete;
    ~small_disk()
    {
        if (mounted_)
            ::umount2(at_.c_str(), MNT_DETACH);
    }
    [[nodiscard]] bool mounted() const noexcept { return mounted_; }

private:
    std::filesystem::path at_;
    bool mounted_;
};

} // namespace terrace::test
