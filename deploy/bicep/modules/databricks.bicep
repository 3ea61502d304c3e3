// The workspace, and the connector by which Unity Catalog reaches the lake.
param location string
param prefix string
param networkId string
param tags object

var injected = !empty(networkId) ? {
  customVirtualNetworkId: {
    value: networkId
  }
  customPublicSubnetName: {
    value: 'databricks-host'
  }
  customPrivateSubnetName: {
    value: 'databricks-container'
  }
} : {}

resource workspace 'Microsoft.Databricks/workspaces@2024-05-01' = {
  name: '${prefix}-dbx'
  location: location
  tags: tags
  sku: {
    name: 'premium'
  }
  properties: {
    managedResourceGroupId: subscriptionResourceId('Microsoft.Resources/resourceGroups', '${prefix}-dbx-managed')
    publicNetworkAccess: 'Enabled'
    parameters: union({
      enableNoPublicIp: {
        value: true
      }
    }, injected)
  }
}

resource connector 'Microsoft.Databricks/accessConnectors@2024-05-01' = {
  name: '${prefix}-dbx-connector'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {}
}

output name string = workspace.name
output url string = 'https://${workspace.properties.workspaceUrl}'
output connectorResourceId string = connector.id
output principalId string = connector.identity.principalId
