/** The tests that hold engines to vectors, in one process: `test/cipher/openssl.test.ts` runs them on other Nodes. */
import '../cipher/engines.test.ts'
import '../segment/cobblestone.test.ts'
import '../envelope/sk1.test.ts'
