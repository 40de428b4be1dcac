// page.html as the build embeds it; @DATA@ stands where the JSON goes.
#pragma once

namespace switchyard {

extern const char kScalePage[];

}  // namespace switchyard
