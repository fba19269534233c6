#pragma once

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <linux/loop.h>
#include <memory>
#include <optional>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

namespace terrace::test {

/// A block device over a file, for as long as it lives.
class loop_device {
public:
    /// None where there are none to be had, as for all but root.
    static std::optional<loop_device> over(const std::filesystem::path& file)
    {
        for (int tries = 0; tries < 10; ++tries) { // others may take the number that is free
            const descriptor control{"/dev/loop-control"};
            const int number = control.get() < 0 ? -1 : ::ioctl(control.get(), LOOP_CTL_GET_FREE);
            if (number < 0)
                return std::nullopt;
            const std::string path = "/dev/loop" + std::to_string(number);
            auto device = std::make_unique<descriptor>(path.c_str());
            const descriptor content{file.c_str()};
            loop_config config{};
            config.fd = static_cast<unsigned>(content.get());
            config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO; // goes with its last descriptor
            if (::ioctl(device->get(), LOOP_CONFIGURE, &config) == 0)
                return loop_device{path, std::move(device)};
            if (errno != EBUSY)
                return std::nullopt;
        }
        return std::nullopt;
    }

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

private:
    class descriptor {
    public:
        explicit descriptor(const char* path) : fd_{::open(path, O_RDWR | O_CLOEXEC)} {}
        descriptor(const descriptor&) = delete;
        descriptor& operator=(const descriptor&) = delete;
        ~descriptor()
        {
            if (fd_ >= 0)
                ::close(fd_);
        }
        [[nodiscard]] int get() const noexcept { return fd_; }

    private:
        int fd_;
    };

    loop_device(std::filesystem::path path, std::unique_ptr<descriptor> device)
        : path_{std::move(path)},
          device_{std::move(device)}
    {
    }

    std::filesystem::path path_;
    std::unique_ptr<descriptor> device_;
};

} // namespace terrace::test
