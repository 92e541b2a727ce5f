/** What the guide to Huawei Cloud shows, against the stand-in. */
import t from 'tap'
import { createSse } from '../../lib/index.ts'
import { huaweiKms } from '../../lib/kms/huawei/huawei.ts'
import { startHuawei } from '../support/huawei.ts'

t.test("Huawei Cloud's key service as key manager", async t => {
  const { dew, stop, keyId: expected } = await startHuawei()
  t.teardown(stop)
  Object.assign(process.env, { DEW: dew.address, PROJECT: dew.project, AK: dew.accessKey, SK: dew.secretKey })
  // #region huawei
  const kms = huaweiKms({
    instance: 'dew-beijing', // full ids begin with it: it never changes
    address: process.env['DEW'] ?? 'https://kms.cn-north-4.myhuaweicloud.com',
    project: process.env['PROJECT'] ?? '', // its id
    credentials: () => ({ accessKey: process.env['AK'] ?? '', secretKey: process.env['SK'] ?? '' }), // and securityToken, where they are temporary
  })
  const { keyId } = await kms.describe('photos') // by its alias: dew-beijing:PROJECT/KEY_ID
  const sse = createSse({ kms, accept: [keyId] })
  // #endregion huawei
  t.equal(keyId, expected.replace('dew1', 'dew-beijing'))
  t.ok((await sse.encrypt()).driver)
  await kms.close?.()
})
