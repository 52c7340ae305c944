// A program of C++ as people write them: containers, strings, exceptions, threads with thread-local objects.
#include <atomic>
#include <cstdio>
#include <future>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

static std::atomic<int> ended;

struct Local {
    std::vector<std::string> words;
    ~Local() { ended += (int)words.size(); words.emplace_back(1000, 'x'); }
};
static thread_local Local local;

struct alignas(256) Wide { char bytes[256]; };

static int work(int seed) {
    std::unordered_map<std::string, std::shared_ptr<Wide>> table;
    int caught = 0;
    for (int i = 0; i < 3000; i++) {
        local.words.push_back("word " + std::to_string(seed * i));
        table[std::to_string(i * 7919 % 1009)] = std::make_shared<Wide>();
        try {
            if (i % 10 == 0) throw std::runtime_error(std::string(i % 100, 'e'));
        } catch (const std::exception &error) {
            caught += (int)std::string(error.what()).size();
        }
    }
    return caught + (int)table.size();
}

int main() {
    std::map<std::string, int> sorted;
    for (int i = 0; i < 9999; i++) sorted[std::to_string(i * 7919 % 10007)] = i;
    std::vector<std::future<int>> results;
    for (int i = 0; i < 8; i++) results.push_back(std::async(std::launch::async, work, i));
    int sum = 0;
    for (auto &result : results) sum += result.get();
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++) threads.emplace_back(work, i);
    for (auto &thread : threads) thread.join();
    auto wide = std::make_unique<Wide[]>(10);
    bool refused = false;
    try {
        std::vector<char> huge((size_t)1 << 60);
    } catch (const std::bad_alloc &) {
        refused = true;
    }
    printf("%zu %d %d %d %d %d\n", sorted.size(), (int)std::regex_match("aab", std::regex("a+b")), sum, ended.load(),
           (int)((size_t)wide.get() % 256), refused);
}
