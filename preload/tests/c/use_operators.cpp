// Blocks of a library that has operators of its own, and of the program's: who makes them and who deletes them have to
// agree.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

void *make();
void destroy(void *p);

struct Thing { long a[10]; ~Thing() {} };

int main() {
    for (int i = 0; i < 1000; i++) {
        destroy(make());
        destroy(operator new(40));
        operator delete(make());
        operator delete(make(), (size_t)40);
        delete new Thing;
        delete[] new Thing[3];
        operator delete(new (std::nothrow) Thing, std::nothrow);
        std::vector<std::string> v(20, std::string(i % 50, 'x'));
        auto shared = std::make_shared<Thing>();
    }
    puts("ok");
}
